/* A libnvidia-ml.so.1 without a GPU, for the real nvidia-ml-py. Faults are lines of the file that
 * NVML_STUB_CONTROL names, which is looked at in each call, so that a test can change them while a server runs:
 *
 *   gpus 2               number of GPUs (default 2)
 *   block_ms 20          every query of a GPU takes this long
 *   alone 1              a query while another thread's blocks ends the process, as some drivers' calls do
 *   init 9               nvmlInit fails with this code (9 driver not loaded, 18 version mismatch, 999 unknown)
 *   fail 999             every query of every GPU fails with this code
 *   lost 1               GPU 1 is lost          (one line a GPU)
 *   denied 1             GPU 1 refuses this user (one line a GPU)
 *   unsupported memory   not reported: name, uuid, utilization, memory, memory_v2, energy, power, temperature,
 *                        clocks, throttle, processes, nvlink, pcie, fields (all counters), gpm (one line each)
 *   utilization 37       fixed percent instead of one that moves
 *   memory_used 1000     fixed bytes instead of a figure that moves
 *   throttle 4           bits of what holds the clocks back (default 0)
 *   nvlink_gb_per_s 50   what NVLink carries in each direction (default 0), and pcie_gb_per_s
 *   mig 1                GPU 1 is divided into two MIG instances (one line a GPU)
 *   process 1234         a process on GPU 0 with process_bytes (default 1 GiB), hidden_bytes 1 hides its memory
 *
 * Types and codes: https://docs.nvidia.com/deploy/nvml-api/
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    LOST = 15
};
enum { MOST_GPUS = 16, LINKS = 18 };
static const unsigned int ALL_LINKS = 0xffffffff;
static const unsigned long long TOTAL_BYTES = 150754820096ull, RESERVED_BYTES = 650ull << 20;

typedef struct { unsigned int index; } *device_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned int gpu, memory; } utilization_t;

static unsigned int handles[MOST_GPUS];
/* Handles of MIG instances: their number is beyond those of GPUs. */
enum { MIG_INSTANCES = 2, MOST_MIG = 7, FIRST_MIG = 1000 };
static unsigned int mig_handles[MOST_GPUS][MIG_INSTANCES];
static const unsigned long long MIG_BYTES = 18ull << 30;
static int initialised, inside;

/* The lines of the control file, each thread's own copy, as calls may come from several. */
typedef struct { char name[64], value[64]; } line_t;
enum { MOST_LINES = 64 };
static __thread line_t lines[MOST_LINES];
static __thread int line_count;

/* Look at the control file, once an NVML call. It is read again only when another file lies in its place, so that
 * a call costs about what a driver's does (4 to 5 us). */
static void look(void)
{
    static __thread struct stat known;
    const char *path = getenv("NVML_STUB_CONTROL");
    struct stat found;
    FILE *file;
    if (!path || stat(path, &found)) {
        line_count = 0;
        known.st_ino = 0;
        return;
    }
    if (found.st_ino == known.st_ino && found.st_mtim.tv_sec == known.st_mtim.tv_sec &&
        found.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return;
    file = fopen(path, "r");
    if (!file)
        return;
    line_count = 0;
    while (line_count < MOST_LINES &&
           fscanf(file, "%63s %63s", lines[line_count].name, lines[line_count].value) == 2)
        line_count++;
    fclose(file);
    known = found;
}

/* The value of `key`, or `otherwise`; with `wanted`, 1 if a line "key wanted" exists. */
static long long control(const char *key, const char *wanted, long long otherwise)
{
    long long found = otherwise;
    for (int i = 0; i < line_count; i++) {
        if (strcmp(lines[i].name, key))
            continue;
        if (!wanted)
            found = atoll(lines[i].value);
        else if (!strcmp(lines[i].value, wanted))
            found = 1;
    }
    return found;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* What every query of a device does first: block, then fail if this GPU or this figure is at fault. */
static int enter(device_t device, const char *figure)
{
    char index[16];
    int failure;
    long long block_ms;
    struct timespec pause;
    look();
    failure = (int)control("fail", NULL, SUCCESS);
    block_ms = control("block_ms", NULL, 0);
    pause = (struct timespec){block_ms / 1000, block_ms % 1000 * 1000000};
    if (!initialised)
        return UNINITIALIZED;
    if (!device)
        return INVALID_ARGUMENT;
    if (block_ms) {
        if (__sync_fetch_and_add(&inside, 1) && control("alone", NULL, 0))
            abort();
        nanosleep(&pause, NULL);
        __sync_fetch_and_sub(&inside, 1);
    }
    if (failure)
        return failure;
    snprintf(index, sizeof index, "%u", device->index);
    if (control("lost", index, 0))
        return LOST;
    if (control("denied", index, 0))
        return NO_PERMISSION;
    return figure && control("unsupported", figure, 0) ? NOT_SUPPORTED : SUCCESS;
}

static int is_mig(device_t device) { return device->index >= FIRST_MIG; }

static int is_divided(device_t device)
{
    char index[16];
    snprintf(index, sizeof index, "%u", device->index);
    return (int)control("mig", index, 0);
}

static int text(char *buffer, unsigned int length, const char *value)
{
    return snprintf(buffer, length, "%s", value) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}

static unsigned long long used_bytes(device_t device)
{
    double share = 0.5 + 0.4 * sin(now() / 7 + device->index);
    long long fixed = control("memory_used", NULL, -1);
    return fixed >= 0 ? (unsigned long long)fixed : (unsigned long long)(share * TOTAL_BYTES);
}

int nvmlInitWithFlags(unsigned int flags)
{
    int code;
    (void)flags;
    look();
    code = (int)control("init", NULL, SUCCESS);
    if (code == SUCCESS)
        initialised++;
    return code;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    if (!initialised)
        return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

const char *nvmlErrorString(int code)
{
    static char words[32];
    snprintf(words, sizeof words, "stub error %d", code);
    return words;
}

int nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    return initialised ? text(version, length, "580.00.stub") : UNINITIALIZED;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = 13000;
    return initialised ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    long long gpus;
    look();
    gpus = control("gpus", NULL, 2);
    *count = gpus > MOST_GPUS ? MOST_GPUS : (unsigned int)gpus;
    return initialised ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_t *device)
{
    unsigned int count;
    int code = nvmlDeviceGetCount_v2(&count);
    if (code != SUCCESS || index >= count)
        return code != SUCCESS ? code : INVALID_ARGUMENT;
    handles[index] = index;
    *device = (device_t)&handles[index];
    return enter(*device, NULL);
}

int nvmlDeviceGetName(device_t device, char *name, unsigned int length)
{
    int code = enter(device, "name");
    return code ? code : text(name, length, is_mig(device) ? "NVIDIA H200 MIG 1g.18gb" : "NVIDIA H200 (stub)");
}

int nvmlDeviceGetUUID(device_t device, char *uuid, unsigned int length)
{
    char value[64];
    int code = enter(device, "uuid");
    if (code)
        return code;
    snprintf(value, sizeof value, "%s-57ab0000-0000-4000-8000-%012u", is_mig(device) ? "MIG" : "GPU", device->index);
    return text(uuid, length, value);
}

int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor)
{
    *major = 9;
    *minor = 0;
    return enter(device, NULL);
}

int nvmlDeviceGetUtilizationRates(device_t device, utilization_t *utilization)
{
    int code = enter(device, "utilization");
    if (code)
        return code;
    if (is_divided(device))
        return NOT_SUPPORTED;
    utilization->gpu = (unsigned int)control("utilization", NULL, (int)(50 + 45 * sin(now() + device->index)));
    utilization->memory = utilization->gpu / 2;
    return SUCCESS;
}

/* A GPU that draws 300 W from the beginning of the epoch on. */
int nvmlDeviceGetTotalEnergyConsumption(device_t device, unsigned long long *millijoules)
{
    int code = enter(device, "energy");
    if (code)
        return code;
    if (control("unsupported", "energy", 0))
        return NOT_SUPPORTED;
    *millijoules = (unsigned long long)(300e3 * now());
    return SUCCESS;
}

/* The first form counts what the driver reserves as used, the second apart. */
int nvmlDeviceGetMemoryInfo(device_t device, memory_t *memory)
{
    int code = enter(device, "memory");
    if (code)
        return code;
    memory->total = is_mig(device) ? MIG_BYTES : TOTAL_BYTES;
    memory->used = is_mig(device) ? MIG_BYTES / 2 : used_bytes(device) + RESERVED_BYTES;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_v2_t *memory)
{
    int code = enter(device, "memory");
    if (code)
        return code;
    if (control("unsupported", "memory_v2", 0))
        return NOT_SUPPORTED;
    memory->total = TOTAL_BYTES;
    memory->reserved = RESERVED_BYTES;
    memory->used = used_bytes(device);
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(device_t device, unsigned int *milliwatts)
{
    *milliwatts = (unsigned int)(1000 * (300 + 100 * sin(now() + device->index)));
    return enter(device, "power");
}

int nvmlDeviceGetEnforcedPowerLimit(device_t device, unsigned int *milliwatts)
{
    *milliwatts = 700000;
    return enter(device, "power");
}

int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned int *celsius)
{
    (void)sensor;
    *celsius = 45 + device->index;
    return enter(device, "temperature");
}

int nvmlDeviceGetClockInfo(device_t device, int kind, unsigned int *megahertz)
{
    *megahertz = kind == 2 ? 2619 : 1980;
    return enter(device, "clocks");
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device_t device, unsigned long long *bits)
{
    int code = enter(device, "throttle");
    *bits = (unsigned long long)control("throttle", NULL, 0);
    return code;
}

typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process_t;

/* All lines "process PID" of the control file are on GPU 0. */
int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned int *count, process_t *found)
{
    unsigned int room = *count;
    int code = enter(device, "processes");
    if (code)
        return code;
    *count = 0;
    for (int i = 0; i < line_count; i++) {
        if (strcmp(lines[i].name, "process") || (device->index && device->index != FIRST_MIG))
            continue;
        if (found && *count < room)
            found[*count] = (process_t){(unsigned int)atoi(lines[i].value),
                control("hidden_bytes", NULL, 0) ? ~0ull : (unsigned long long)control("process_bytes", NULL, 1ll << 30),
                0xFFFFFFFF, 0xFFFFFFFF};
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

typedef struct {
    unsigned int id, scope;
    long long timestamp, latency;
    int type, code;
    union { double real; unsigned long long whole; } value;
} field_t;

enum { UNSIGNED_LONG_LONG = 3, NVLINK_TX = 138, NVLINK_RX = 139 };

static double link_bytes_per_second(const char *link)
{
    return 1e9 * (double)control(link[0] == 'p' ? "pcie_gb_per_s" : "nvlink_gb_per_s", NULL, 0);
}

/* Counters that grow with time; the driver stamps each value. NVLink counts KiB. */
int nvmlDeviceGetFieldValues(device_t device, int count, field_t *values)
{
    int code = enter(device, "fields");
    for (int i = 0; !code && i < count; i++) {
        int nvlink = values[i].id == NVLINK_TX || values[i].id == NVLINK_RX;
        double rate = nvlink ? link_bytes_per_second("nvlink") : 0;
        if (values[i].scope != ALL_LINKS)
            rate /= LINKS;
        double time = now();
        values[i].timestamp = (long long)(1e6 * time);
        values[i].type = UNSIGNED_LONG_LONG;
        values[i].value.whole = (unsigned long long)(rate * time / 1024);
        values[i].code = !nvlink || control("unsupported", "nvlink", 0) ? NOT_SUPPORTED : SUCCESS;
    }
    return code;
}

typedef struct { double time; } *gpm_sample_t;
typedef struct { unsigned int version, supported; } gpm_support_t;
typedef struct {
    unsigned int id;
    int code;
    double value;
    struct { char *short_name, *long_name, *unit; } info;
} gpm_metric_t;
typedef struct { unsigned int version, count; gpm_sample_t first, second; gpm_metric_t metrics[]; } gpm_request_t;

int nvmlGpmQueryDeviceSupport(device_t device, gpm_support_t *support)
{
    int code = enter(device, NULL);
    support->supported = !control("unsupported", "gpm", 0);
    return code;
}

int nvmlGpmSampleAlloc(gpm_sample_t *sample)
{
    *sample = calloc(1, sizeof **sample);
    return SUCCESS;
}

int nvmlGpmSampleFree(gpm_sample_t sample)
{
    free(sample);
    return SUCCESS;
}

int nvmlGpmSampleGet(device_t device, gpm_sample_t sample)
{
    sample->time = now();
    return enter(device, NULL);
}

int nvmlGpmMigSampleGet(device_t device, unsigned int instance, gpm_sample_t sample)
{
    sample->time = now();
    return instance < MIG_INSTANCES ? enter(device, NULL) : INVALID_ARGUMENT;
}

int nvmlDeviceGetMigMode(device_t device, unsigned int *current, unsigned int *pending)
{
    int code = enter(device, NULL);
    *current = *pending = (unsigned int)is_divided(device);
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned int *count)
{
    *count = MOST_MIG;
    return enter(device, NULL);
}

/* The first number is free: an instance may be taken away, and the others keep theirs. */
int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned int index, device_t *instance)
{
    int code = enter(device, NULL);
    if (code)
        return code;
    if (index < 1 || index > MIG_INSTANCES)
        return NOT_FOUND;
    mig_handles[device->index][index - 1] = FIRST_MIG + device->index * MOST_MIG + index - 1;
    *instance = (device_t)&mig_handles[device->index][index - 1];
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(device_t device, unsigned int *instance)
{
    *instance = (device->index - FIRST_MIG) % MOST_MIG;
    return enter(device, NULL);
}

enum { GPM_SM = 2, GPM_TENSOR = 5, GPM_PCIE_TX = 20, GPM_PCIE_RX = 21, GPM_NVLINK_RX = 60, GPM_NVLINK_TX = 61 };

/* SMs 40 %, tensor cores 20 %, memory 60 %, links in MiB/s; like the driver, it refuses samples of one moment. */
int nvmlGpmMetricsGet(gpm_request_t *request)
{
    if (request->second->time <= request->first->time)
        return INVALID_ARGUMENT;
    for (unsigned int i = 0; i < request->count; i++) {
        unsigned int id = request->metrics[i].id;
        int pcie = id == GPM_PCIE_TX || id == GPM_PCIE_RX;
        int nvlink = id == GPM_NVLINK_TX || id == GPM_NVLINK_RX;
        const char *link = pcie ? "pcie" : "nvlink";
        request->metrics[i].code =
            (pcie || nvlink) && control("unsupported", link, 0) ? NOT_SUPPORTED : SUCCESS;
        request->metrics[i].value = pcie || nvlink ? link_bytes_per_second(link) / (1 << 20)
                                                   : id == GPM_SM ? 40 : id == GPM_TENSOR ? 20 : 60;
    }
    return SUCCESS;
}

/* What jupyterlab-nvdashboard asks for beside these. */
int nvmlDeviceGetMaxPcieLinkGeneration(device_t device, unsigned int *generation)
{
    *generation = 5;
    return enter(device, NULL);
}

int nvmlDeviceGetMaxPcieLinkWidth(device_t device, unsigned int *width)
{
    *width = 16;
    return enter(device, NULL);
}

int nvmlDeviceGetPcieThroughput(device_t device, unsigned int counter, unsigned int *kib_per_second)
{
    (void)counter;
    *kib_per_second = (unsigned int)(link_bytes_per_second("pcie") / 1024);
    return enter(device, "pcie");
}

int nvmlDeviceGetNvLinkVersion(device_t device, unsigned int link, unsigned int *version)
{
    int code = enter(device, NULL);
    (void)link;
    (void)version;
    return code ? code : NOT_SUPPORTED;
}

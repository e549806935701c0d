/* A libnvidia-ml.so.1 without a GPU, for the real nvidia-ml-py. Faults are lines of the file that
 * NVML_STUB_CONTROL names, which is looked at in each call, so that a test can change them while a server runs:
 *
 *   gpus 2               number of GPUs (default 2)
 *   block_ms 20          every query of a GPU takes this long
 *   init 9               nvmlInit fails with this code (9 driver not loaded, 18 version mismatch, 999 unknown)
 *   fail 999             every query of every GPU fails with this code
 *   lost 1               GPU 1 is lost          (one line a GPU)
 *   denied 1             GPU 1 refuses this user (one line a GPU)
 *   unsupported memory   not reported: name, uuid, utilization, memory, memory_v2 (one line each)
 *   utilization 37       fixed percent instead of one that moves
 *   memory_used 1000     fixed bytes instead of a figure that moves
 *
 * Types and codes: https://docs.nvidia.com/deploy/nvml-api/
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, INSUFFICIENT_SIZE = 7, LOST = 15 };
enum { MOST_GPUS = 16 };
static const unsigned long long TOTAL_BYTES = 150754820096ull, RESERVED_BYTES = 650ull << 20;

typedef struct { unsigned int index; } *device_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned int gpu, memory; } utilization_t;

static unsigned int handles[MOST_GPUS];
static int initialised;

/* The text of the control file. Read again only when another file lies in its place, so that the stub costs
 * about what a driver does; each thread keeps its own copy, as calls may come from several. */
static const char *control_text(void)
{
    static __thread char text[4096];
    static __thread struct stat known;
    const char *path = getenv("NVML_STUB_CONTROL");
    struct stat found;
    FILE *file;
    if (!path || stat(path, &found))
        return "";
    if (found.st_ino == known.st_ino && found.st_mtim.tv_sec == known.st_mtim.tv_sec &&
        found.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return text;
    file = fopen(path, "r");
    if (!file)
        return "";
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    known = found;
    return text;
}

/* The value of `key`, or `otherwise`; with `wanted`, 1 if a line "key wanted" exists. */
static long long control(const char *key, const char *wanted, long long otherwise)
{
    char name[64], value[64];
    long long found = otherwise;
    int length;
    for (const char *text = control_text(); sscanf(text, "%63s %63s%n", name, value, &length) == 2; text += length) {
        if (strcmp(name, key))
            continue;
        if (!wanted)
            found = atoll(value);
        else if (!strcmp(value, wanted))
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
    int failure = (int)control("fail", NULL, SUCCESS);
    long long block_ms = control("block_ms", NULL, 0);
    struct timespec pause = {block_ms / 1000, block_ms % 1000 * 1000000};
    if (!initialised)
        return UNINITIALIZED;
    if (!device)
        return INVALID_ARGUMENT;
    if (block_ms)
        nanosleep(&pause, NULL);
    if (failure)
        return failure;
    snprintf(index, sizeof index, "%u", device->index);
    if (control("lost", index, 0))
        return LOST;
    if (control("denied", index, 0))
        return NO_PERMISSION;
    return figure && control("unsupported", figure, 0) ? NOT_SUPPORTED : SUCCESS;
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
    int code = (int)control("init", NULL, SUCCESS);
    (void)flags;
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
    long long gpus = control("gpus", NULL, 2);
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
    return code ? code : text(name, length, "NVIDIA H200 (stub)");
}

int nvmlDeviceGetUUID(device_t device, char *uuid, unsigned int length)
{
    char value[64];
    int code = enter(device, "uuid");
    if (code)
        return code;
    snprintf(value, sizeof value, "GPU-57ab0000-0000-4000-8000-%012u", device->index);
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
    memory->total = TOTAL_BYTES;
    memory->used = used_bytes(device) + RESERVED_BYTES;
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
    *kib_per_second = 1000 * (counter + 1);
    return enter(device, NULL);
}

int nvmlDeviceGetNvLinkVersion(device_t device, unsigned int link, unsigned int *version)
{
    int code = enter(device, NULL);
    (void)link;
    (void)version;
    return code ? code : NOT_SUPPORTED;
}

"""A notebook's kernel that looks as if it computed on a GPU, started from a page of Lab."""

# A kernel that has a library of CUDA's name in its memory, and a child that has it as well.
KERNEL_CODE = """
import mmap, os, subprocess, sys
held = "with open('libcuda.so.1', 'rb') as f: m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
open('libcuda.so.1', 'wb').write(b'x' * mmap.PAGESIZE)
exec(held)
child = subprocess.Popen([sys.executable, '-c', 'import mmap, time\\n' + held + '\\ntime.sleep(600)'])
print(os.getpid(), child.pid)
"""
# A decode loop of some seconds that the kernel does not wait for.
DECODE_CODE = """
import threading, time
from workshop_utils.monitor.tokens import count_tokens
def decode():
    for _ in range(500):
        count_tokens(8)
        time.sleep(0.02)
threading.Thread(target=decode, daemon=True).start()
"""
RUN_IN_A_KERNEL = """async code => {
  const session = await window.jupyterapp.serviceManager.sessions.startNew({
    path: 'my <b>plan.ipynb', type: 'notebook', name: 'plan', kernel: { name: 'python3' } });
  const future = session.kernel.requestExecute({ code });
  let said = '';
  future.onIOPub = message => { said += message.content.text ?? ''; };
  await future.done;
  return said;
}"""

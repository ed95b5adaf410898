import t from 'tap'
import { reasonToStay } from '../../src/core/stays.ts'

function stays(command: string, mode: 'plain' | 'staged' | 'files' = 'plain'): string | undefined {
  return reasonToStay(command.split(' '), mode)
}

t.test('what acts on or shows this machine stays, with the reason', async (t) => {
  t.equal(stays('sudo make install'), 'sudo acts on this machine')
  t.equal(stays('/usr/bin/systemctl status'), 'systemctl acts on this machine')
  t.equal(stays('env X=1 docker ps'), 'docker acts on this machine')
  t.equal(stays('nice sudo true'), 'sudo acts on this machine')
  t.equal(stays('ps aux'), 'ps shows what this machine does')
  t.equal(stays('df -h'), 'df shows what this machine does')
  t.equal(stays('ssh nas true'), 'ssh uses the keys and the known hosts of this machine')
  t.equal(stays('firefox'), "firefox opens a window on this machine's screen")
  t.equal(reasonToStay(['sh', '-c', 'sudo reboot'], 'plain'), 'sudo acts on this machine')
})

t.test('what would come out different elsewhere stays', async (t) => {
  t.equal(stays('gcc -O2 -march=native a.c'), '-march=native would come out different elsewhere')
  t.equal(stays('rustc -C target-cpu=native a.rs'), 'target-cpu=native would come out different elsewhere')
  t.equal(stays('gcc -O2 a.c'), undefined)
})

t.test('what only waits for the disk stays when it would read its files through the network', async (t) => {
  t.equal(stays('git status', 'files'), 'git only waits for the disk')
  t.equal(stays('git -c a=b status', 'files'), undefined, 'options with values hide the subcommand: it may ship')
  t.equal(stays('git gc', 'files'), undefined)
  t.equal(stays('npm ci', 'files'), 'npm only waits for the disk')
  t.equal(stays('npm test', 'files'), undefined)
  t.equal(stays('rg pattern', 'files'), 'rg only waits for the disk')
  t.equal(stays('rg pattern', 'plain'), undefined)
  t.equal(stays('grep pattern', 'staged'), undefined)
})

t.test('small work of a tool behind a shim stays; the same by itself is what its user asked for', async (t) => {
  const shim = (command: string) => reasonToStay(command.split(' '), 'files', true)
  for (const name of ['gcc', 'g++', 'cc', '/usr/bin/gcc-12', 'x86_64-linux-gnu-gcc', 'arm-none-eabi-g++', 'clang-15']) {
    t.equal(shim(`${name} -O2 -c a.c -o a.o`), undefined, name)
    t.match(shim(`${name} a.o b.o -o program`), /links what is here/, name)
    t.match(shim(`${name} --version`), /only tells about itself/, name)
  }
  t.match(shim('gcc -E -c a.c'), /only reads/)
  t.match(shim('gcc -dumpmachine'), /only tells about itself/)
  t.match(shim('gcc -c conftest.c'), /tries what is here/)
  t.match(shim('cc -c sub/conftest-1.c -o x.o'), /tries what is here/)
  t.match(shim('gcc -x c -c -'), /tries what is here/)
  t.match(shim('cc -o CMakeFiles/cmTC_1a2b.dir/src.c.o -c /b/CMakeFiles/CMakeScratch/TryCompile-x/src.c'), /tries what/)
  t.match(shim('c++ -c /b/meson-private/tmpx/testfile.cpp -o x.o'), /tries what is here/)
  t.match(shim('cc -c -o x.o @flags.rsp'), /reads its options/)
  for (const arg of ['-o/run/user/0/x.o', '/dev/fd/63', '/proc/self/fd/3'])
    t.match(shim(`gcc -c ${arg} a.c`), /each machine has its own/, arg)
  t.equal(shim('gcc -c -I/running/dev/include run/dev/a.c -o build/proc/a.o'), undefined)
  t.match(shim('rustc -vV'), /only tells about itself/)
  t.equal(shim('rustc --crate-name x src/lib.rs'), undefined)
  t.match(shim('xz --version'), /only tells about itself/)
  t.equal(shim('xz big.tar'), undefined)
  for (const command of ['gcc a.o -o a', 'gcc -E a.c', 'gcc --version'])
    t.equal(stays(command, 'files'), undefined, command)
})

t.test('all else may ship', async (t) => {
  t.equal(stays('make -j8'), undefined)
  t.equal(stays('sha256sum'), undefined)
  t.equal(reasonToStay([], 'plain'), undefined)
  t.equal(stays('constructor'), undefined, 'a name that objects have')
})

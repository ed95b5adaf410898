/** Programs that others wrote, which try a file system or lean on it: what each is asked to do in a directory of its own. */

export interface Suite {
  name: string
  /** Programs that it takes. */
  programs: readonly string[]
  /** For `sh -e`; it is empty-handed: the directory, too. */
  script: string
  /** What it writes when all is well. */
  says: string
}

/** Stressors of stress-ng for files, which verify what they did, with how often they do it. */
const STRESSORS: readonly [name: string, count: number][] = [
  ['access', 5],
  ['chdir', 500],
  ['chmod', 5],
  ['chown', 5],
  ['copy-file', 2],
  ['dentry', 300],
  ['dir', 2],
  ['dirdeep', 200],
  ['dirmany', 100],
  ['fallocate', 3],
  ['fcntl', 10],
  ['filename', 10],
  ['flock', 100],
  ['fstat', 20],
  ['getdent', 20],
  ['hdd', 50],
  ['iomix', 50],
  ['link', 1],
  ['locka', 50],
  ['lockf', 50],
  ['lockofd', 50],
  ['mknod', 5],
  ['open', 50],
  ['readahead', 50],
  ['rename', 200],
  ['revio', 200],
  ['seek', 200],
  ['sendfile', 20],
  ['symlink', 1],
  ['sync-file', 5],
  ['touch', 100],
  ['utime', 50],
  ['aio', 50],
  ['msync', 50]
]

/** Two of each at a time; `times`: how often as often. */
export function stressors(times: number): Suite[] {
  return STRESSORS.map(([name, count]) => ({
    name: `stress-ng: ${name}`,
    programs: ['stress-ng'],
    script: `stress-ng --verify --temp-path . --chdir-dirs 128 --hdd-bytes 1m --iomix-bytes 1m --aio-requests 4 --timeout 20 --${name} 2 --${name}-ops ${count * times} >said 2>&1 || { cat said; exit 1; }; rm said; ls -A`,
    says: ''
  }))
}

const fio = (name: string, options: string): Suite => ({
  name: `fio: ${name}`,
  programs: ['fio'],
  script: `fio --name=x --verify=crc32c --verify_fatal=1 ${options} >said 2>&1 || { cat said; exit 1; }`,
  says: ''
})

export const DISKS: readonly Suite[] = [
  fio('written from beginning to end', '--ioengine=psync --rw=write --bs=64k --size=64m'),
  fio('written here and there, three at once', '--ioengine=psync --rw=randwrite --bs=4k --size=8m --numjobs=3'),
  fio('mapped, two at once', '--ioengine=mmap --rw=randrw --bs=4k --size=8m --numjobs=2'),
  fio('asynchronous, two at once', '--ioengine=libaio --iodepth=8 --rw=randrw --bs=8k --size=8m --numjobs=2'),
  fio('direct', '--ioengine=psync --direct=1 --rw=randrw --bs=4k --size=4m'),
  {
    name: 'dbench: three clients',
    programs: ['dbench'],
    script:
      'dbench -t 5 -D . -c /usr/share/dbench/client.txt 3 >said 2>&1 || { cat said; exit 1; }; grep -c Throughput said',
    says: '1\n'
  }
]

/** Large enough to take its time, on every Linux that compiles. */
const TREE = '/usr/include/linux'

export const PROGRAMS: readonly Suite[] = [
  {
    name: 'copies: cp, rsync, tar, mv, find',
    programs: ['rsync'],
    script: `mkdir a; cp -a ${TREE} a; rsync -a --checksum a/ b/; rsync -ani --delete a/ b/; diff -r a b; tar cf a.tar a
tar df a.tar; mv b /dev/shm/kappa-$$; mv /dev/shm/kappa-$$ b; diff -r a b; cp -al a c; diff -r a c; find b c -delete; ls`,
    says: 'a\na.tar\n'
  },
  {
    name: 'what editors and installers do',
    programs: [],
    script: `echo one >f; sed -i s/one/two/ f; cat f; install -m 750 f g; stat -c %a g; ln -sf g l; ln -sf f l; readlink l
printf new >.f.tmp; sync .f.tmp; mv .f.tmp f; cat f; cp f f~; echo more >>f; cat f; mv -b g f; cat f; ls -A`,
    says: 'two\n750\nf\nnewnewmore\ntwo\nf\nf~\nl\n'
  },
  {
    name: 'a tree is removed while it is listed',
    programs: [],
    script: `mkdir big; for i in $(seq 40); do mkdir big/$i; (cd big/$i; touch $(seq 40)); done
(while [ -e big ]; do ls -lR big >/dev/null 2>&1 || :; done) & rm -rf big; wait; ls -A`,
    says: ''
  },
  {
    name: 'git: commit, clone, check, collect',
    programs: ['git'],
    script: `git='git -c user.name=ann -c user.email=ann@home -c init.defaultBranch=main'; $git init -q a; cp -r ${TREE} a; cd a
$git add .; $git commit -qm one; $git mv linux moved; $git commit -qm two; $git gc -q; $git fsck --full 2>/dev/null; cd ..
git clone -q a b; git -C b status --short; diff -r a/moved b/moved; git -C b log --format=%s`,
    says: 'two\none\n'
  },
  {
    name: 'python3 -m venv, with pip',
    programs: ['python3'],
    script: 'python3 -m venv v; v/bin/python -c "import pip"; v/bin/pip --version | cut -d " " -f 1; rm -rf v; ls -A',
    says: 'pip\n'
  },
  {
    name: 'sqlite3: a rollback journal, interrupted',
    programs: ['python3'],
    script: `cat >t.py <<'E'
import os, sqlite3, sys
c = sqlite3.connect('db', isolation_level=None)
c.execute('pragma journal_mode=' + sys.argv[1]); c.execute('create table if not exists t(a, b)')
for n in range(20):
    c.execute('begin'); c.executemany('insert into t values(?, ?)', [(n, 'x' * 3000)] * 20); c.execute('commit')
if os.fork() == 0:
    d = sqlite3.connect('db', isolation_level=None); d.execute('pragma cache_size=5')
    d.execute('begin'); d.execute('delete from t'); os._exit(0)
os.wait()
d = sqlite3.connect('db')
print(d.execute('select count(*) from t').fetchone()[0], d.execute('pragma integrity_check').fetchone()[0])
E
for mode in delete truncate persist; do python3 t.py $mode; done`,
    says: '400 ok\n800 ok\n1200 ok\n'
  },
  {
    name: 'npm ci',
    programs: ['npm'],
    script: `mkdir -p one/lib; echo '{"name":"one","version":"1.0.0","main":"lib/x.js"}' >one/package.json; echo 'module.exports = 1' >one/lib/x.js
echo '{"name":"two","version":"1.0.0","dependencies":{"one":"file:one-1.0.0.tgz"}}' >package.json
export npm_config_cache=$PWD/cache npm_config_offline=true npm_config_update_notifier=false npm_config_loglevel=error
npm pack --silent ./one >/dev/null; npm install --silent --package-lock-only; npm ci --silent; npm ci --silent
node -e 'console.log(require("one"))'`,
    says: '1\n'
  }
]

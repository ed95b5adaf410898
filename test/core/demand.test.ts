import t from 'tap'
import { demandOf } from '../../src/core/demand.ts'

const ALL = 12
const cases: [string, number | undefined][] = [
  ['make -j8', 8],
  ['make -j 8 all', 8],
  ['make --jobs=8', 8],
  ['make --jobs 8', 8],
  ['/usr/bin/make -kj3', 3],
  ['make -j2 -j6', 6],
  ['make -j', ALL],
  ['make -j all', ALL],
  ['make --jobs', ALL],
  ['make -j99999', 1024],
  ['make', undefined],
  ['ninja', ALL],
  ['ninja -C build -j 3', 3],
  ['ninja -j0', ALL],
  ['cargo build', ALL],
  ['cargo build -j4', 4],
  ['cargo run -- -j4', ALL],
  ['xz -T4 file', 4],
  ['xz -9T4 file', 4],
  ['xz -T0 file', ALL],
  ['xz file', undefined],
  ['zstd -T2 --ultra -22', 2],
  ['zstd --threads=3', 3],
  ['pigz -p 5 f', 5],
  ['pigz f', ALL],
  ['7z a -mmt4 x.7z y', 4],
  ['7z a -mmt=4 x.7z y', 4],
  ['ffmpeg -i a -threads 4 b', 4],
  ['ffmpeg -i a b', ALL],
  ['pytest -n auto', ALL],
  ['pytest -n 3', 3],
  ['xargs -P8 -n1 echo', 8],
  ['xargs echo', undefined],
  ['unknown --jobs=8', 8],
  ['unknown --jobs 7', 7],
  ['unknown --threads 4', 4],
  ['unknown --threads=4', 4],
  ['unknown -j8', 8],
  ['unknown -- -j8', undefined],
  ['tar -j 8', undefined],
  ['unknown', undefined],
  ['unknown --threads none', undefined],
  ['env -u X CC=gcc make -j4', 4],
  ['nice -n 10 make -j4', 4],
  ['nice -10 make -j4', 4],
  ['time make -j4', 4],
  ['timeout -k 5 60 nice make -j4', 4],
  ['env', undefined],
  ['', undefined]
]

for (const [command, expected] of cases) {
  t.equal(demandOf(command === '' ? [] : command.split(' '), ALL), expected, command)
}

t.test('a shell is looked into only when its script is one plain command', async (t) => {
  t.equal(demandOf(['sh', '-c', 'make -j4'], ALL), 4)
  t.equal(demandOf(['bash', '-c', 'CC=gcc make -j4'], ALL), 4)
  t.equal(demandOf(['sh', '-c', 'make -j4 && true'], ALL), undefined)
  t.equal(demandOf(['sh', '-c', 'make -j$(nproc)'], ALL), undefined)
})

t.test('all cores of a fraction of a machine are one', async (t) => {
  t.equal(demandOf(['make', '-j'], 0.25), 1)
  t.equal(demandOf(['make', '-j1'], 4), 1)
})

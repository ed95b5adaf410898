import t from 'tap'
import { AgreementLan } from '../../benchmarks/agreement-lan.ts'
import { unavailable } from '../../benchmarks/household.ts'
import { needs } from '../require.ts'

const reason = unavailable()
if (needs(t, reason === undefined, reason ?? '')) {
  t.test('a trace is played by real clients on slow hosts, and it is told what became of each job', async (t) => {
    const lan = await AgreementLan.make({ topology: 'line', cores: [0.2, 0.3, 0.6], bound: [0, 1, 0] })
    t.teardown(() => lan.close())
    t.ok((await lan.speed()) > 0)
    const jobs = [
      { at: 0, home: 0, cpuMs: 300 },
      { at: 200, home: 2, cpuMs: 100 },
      { at: 400, home: 0, cpuMs: 50 }
    ]
    for (const round of ['first', 'second']) {
      const { played, got } = await lan.play(jobs)
      t.ok(got > 0, `${got} of their cores`)
      t.equal(played.length, jobs.length, round)
      for (const [index, { target, responseMs, metrics }] of played.entries()) {
        t.ok(target >= 0 && target <= 2, `job ${index} ran on h${target}`)
        t.ok(responseMs >= jobs[index]!.cpuMs, 'no sooner than its CPU clock allows')
        t.equal(metrics.length, 3)
        t.ok(metrics[jobs[index]!.home]! >= 0, 'its home is always considered')
      }
    }
  })

  t.test('a job of which nothing is known is no result', async (t) => {
    const lan = await AgreementLan.make({ topology: 'line', cores: [0.3, 0.3], bound: [0, 1] })
    t.teardown(() => lan.close())
    await t.rejects(lan.play([{ at: 0, home: 2, cpuMs: 1 }]), /nothing is known of job 0/)
  })
}

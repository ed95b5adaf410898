import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readExposition } from '../prometheus.ts'
import { pair, sees, TestPeer, until } from './peers.ts'

const SECRET = 'hunter2-kept-to-itself'
const config = 'log.format = "json"\n'
const [home, nas] = await Promise.all([
  TestPeer.start(t, { name: 'home', config }),
  TestPeer.start(t, { name: 'nas', config })
])

async function samplesOf(peer: TestPeer): Promise<Map<string, number>> {
  const families = readExposition(await peer.ok(['metrics']))
  return new Map([...families.values()].flatMap(({ samples }) => [...samples]))
}

t.test('figures of a peer, its neighbour and its jobs', async (t) => {
  await pair(home, nas)
  await sees(home, nas)
  await home.there(nas, ['sh', '-c', `exit 3 # ${SECRET}`], { options: ['--env', `PASSWORD=${SECRET}`] })
  await home.kappa(['run', '--local', 'true', SECRET])
  const { peerId } = await nas.status()
  const samples = await until('both are counted', async () => {
    const found = await samplesOf(home)
    return found.get('kappa_jobs_total{where="here",outcome="succeeded"}') === 1 ? found : undefined
  })
  t.equal(samples.get('kappa_jobs_total{where="elsewhere",outcome="failed"}'), 1)
  t.ok(samples.get('kappa_job_duration_seconds_count{}')! >= 2)
  t.equal(samples.get(`kappa_neighbour_info{peer="${peerId}",name="nas",kind="own"}`), 1)
  t.equal(samples.get(`kappa_neighbour_connected{peer="${peerId}"}`), 1)
  t.ok(samples.get(`kappa_neighbour_system_metric{peer="${peerId}"}`)! > 0)
  t.ok(samples.get('kappa_system_metric{}')! > 0)
  t.ok(samples.get('process_resident_memory_bytes{}')! > 1e6)
  await until('its target has counted it, too', async () => {
    return (await samplesOf(nas)).get('kappa_guest_jobs_total{outcome="failed"}') === 1
  })
  t.notMatch(await home.ok(['metrics']), SECRET)
})

t.test('the log holds objects, no secrets, and no command lines unless they are asked for', async (t) => {
  const said = () => home.log() + nas.log()
  for (const line of said().trim().split('\n')) {
    const { time, level, message } = JSON.parse(line)
    t.ok(time && level && message, line)
  }
  t.notMatch(said(), SECRET)
  t.notMatch(said(), /kappa:1|PASSWORD/, 'nor invitations or variables')
  const pairings = readFileSync(join(home.directory, 'state/pairings.json'), 'utf8')
  t.match(pairings, 'nas', 'what it keeps is elsewhere')
  await home.ok(['config', 'set', 'log.jobs', 'commands'])
  await home.kappa(['run', '--local', 'true', 'wanted', SECRET])
  await until('it is told', () => home.log().includes(`"command":"true wanted ${SECRET}"`))
  t.match(said(), /"message":"job over"|"outcome":"succeeded"/)
})

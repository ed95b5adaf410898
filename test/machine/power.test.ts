import t, { type Test } from 'tap'
import { onBattery } from '../../src/machine/power.ts'

const battery = (status: string) => ({ type: 'Battery\n', status: `${status}\n`, scope: 'System\n' })
const mains = (online: 0 | 1) => ({ type: 'Mains\n', online: `${online}\n` })
const mouse = { type: 'Battery\n', status: 'Discharging\n', scope: 'Device\n' }

function on(t: Test, supplies: Record<string, Record<string, string>>): boolean {
  return onBattery(t.testdir(supplies))
}

t.test('a laptop', async (t) => {
  t.equal(on(t, { BAT0: battery('Discharging'), AC: mains(0) }), true)
  t.equal(on(t, { BAT0: battery('Discharging') }), true, 'that shows no mains')
  t.equal(on(t, { BAT0: battery('Charging'), AC: mains(1) }), false)
  t.equal(
    on(t, { BAT0: battery('Full'), BAT1: battery('Discharging'), AC: mains(1) }),
    false,
    'drawn from beside the mains'
  )
})

t.test('other machines', async (t) => {
  t.equal(on(t, {}), false, 'a desktop')
  t.equal(on(t, { hidpp_battery_0: mouse }), false, 'a desktop with a mouse')
  t.equal(onBattery('/nowhere'), false, 'a container')
})

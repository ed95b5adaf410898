/** The jobs of this home or of others here, with why each is where it is, and how to end it. */

import type { JobResult, WhyResult } from '../daemon/control-results.ts'
import { get, post } from './api.ts'
import { byId, commandLine, duration, element } from './elements.ts'

const SIGTERM = 15
/** Of those that are over; all others are shown. */
const SHOWN_MAX = 25

export class Jobs {
  readonly #body = byId<HTMLTableSectionElement>('jobs')
  readonly #none = byId('no-jobs')
  readonly #onError: (error: unknown) => void
  #isGuests = false
  /** The one whose reasons are shown, and these. */
  #open: { id: string; details: Node } | undefined
  #drawn = ''
  #last: { jobs: JobResult[]; guests: JobResult[] } = { jobs: [], guests: [] }

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  set isGuests(isGuests: boolean) {
    this.#isGuests = isGuests
    this.#open = undefined
    byId('where').textContent = isGuests ? 'Home' : 'Machine'
    this.show(this.#last)
  }

  show(told: { jobs: JobResult[]; guests: JobResult[] }): void {
    this.#last = told
    const all = this.#isGuests ? told.guests : told.jobs
    const jobs = [...all.filter(isLive), ...all.filter((job) => !isLive(job)).slice(0, SHOWN_MAX)]
    this.#none.hidden = jobs.length > 0
    this.#none.textContent = this.#isGuests ? 'No job of another machine has run here.' : 'No job yet: kappa run CMD'
    const described = JSON.stringify([jobs, this.#open?.id, this.#isGuests])
    // Times of jobs that run go on.
    if (described === this.#drawn && !jobs.some(isLive)) return
    const focused = (document.activeElement as HTMLElement | null)?.dataset.job
    this.#drawn = described
    this.#body.replaceChildren(...jobs.flatMap((job) => this.#rowsOf(job)))
    if (focused) this.#body.querySelector<HTMLElement>(`[data-job="${CSS.escape(focused)}"]`)?.focus()
  }

  #rowsOf(job: JobResult): Node[] {
    const { id, argv, target, home, startedAt, endedAt } = job
    const isOpen = this.#open?.id === id
    const command = commandLine(argv)
    const actions = element('td', { class: 'actions' })
    if (!this.#isGuests) {
      const why = () => void this.#toggle(id).catch(this.#onError)
      const attributes = { type: 'button', 'aria-expanded': String(isOpen), 'aria-label': `Why ${command}` }
      const button = element('button', { ...attributes, click: why }, 'Why')
      button.dataset.job = `why ${id}`
      actions.append(button)
    }
    if (isLive(job)) {
      const kill = () => void this.#kill(job).catch(this.#onError)
      const button = element(
        'button',
        { type: 'button', class: 'danger', 'aria-label': `End ${command}`, click: kill },
        'End'
      )
      button.dataset.job = `end ${id}`
      actions.append(button)
    }
    const row = element(
      'tr',
      { class: isLive(job) ? 'live' : '' },
      element('td', { class: 'command' }, element('code', { class: 'foreign', title: command }, command)),
      element('td', { class: 'foreign' }, this.#isGuests ? home : (target ?? '–')),
      element('td', {}, element('span', { class: `state ${styleOf(job)}` }, stateOf(job))),
      element('td', { class: 'number' }, duration((endedAt ?? Date.now()) - startedAt)),
      actions
    )
    return isOpen
      ? [row, element('tr', { class: 'details' }, element('td', { colspan: 5 }, this.#open!.details))]
      : [row]
  }

  async #toggle(id: string): Promise<void> {
    if (this.#open?.id === id) this.#open = undefined
    else this.#open = { id, details: reasonsOf((await get('why', { job: id })) as WhyResult) }
    this.#drawn = ''
    this.show(this.#last)
  }

  async #kill({ id, argv }: JobResult): Promise<void> {
    if (!confirm(`End this job?\n\n${commandLine(argv)}`)) return
    await post('kill', { job: id, signal: SIGTERM, ...(this.#isGuests && { guest: true }) })
  }
}

function isLive({ state }: JobResult): boolean {
  return state !== 'exited' && state !== 'lost'
}

function stateOf({ state, exitCode, signal, position }: JobResult): string {
  if (state === 'queued' && position !== undefined) return `number ${position} in line`
  if (state !== 'exited') return state
  if (signal !== null) return signal
  return exitCode === null ? 'nothing ran' : exitCode === 0 ? 'done' : `exit ${exitCode}`
}

function styleOf(job: JobResult): string {
  if (isLive(job)) return 'running'
  return job.state === 'exited' && job.exitCode === 0 ? 'good' : 'bad'
}

/** What `kappa why` says. */
function reasonsOf(why: WhyResult): Node {
  const said = element('div', { class: 'why' })
  said.append(element('p', { class: 'reason foreign' }, why.reason ?? 'It is not decided yet.'))
  if (why.error !== null) said.append(element('p', { class: 'bad foreign' }, why.error.message))
  if (why.hops.length > 1) said.append(element('p', { class: 'foreign' }, `by way of ${why.hops.join(' → ')}`))
  const times = Object.entries(why.timesMs).map(([phase, ms]) => `${phase} ${duration(ms)}`)
  said.append(element('p', { class: 'quiet' }, [`job ${why.id}`, ...times].join(', ')))
  if (why.candidates.length > 0) {
    const rows = why.candidates.map(({ name, metric, hops, ageMs, lacks = '' }) => [
      name,
      metric.toFixed(0),
      String(hops),
      duration(ageMs),
      lacks
    ])
    said.append(table(['Considered', 'Metric', 'Hops', 'Known since', 'Lacks'], rows))
  }
  if (why.refusals.length > 0) {
    said.append(
      table(
        ['Refused', 'Because'],
        why.refusals.map(({ name, reason }) => [name, reason])
      )
    )
  }
  return said
}

function table(heading: string[], rows: string[][]): Node {
  const head = element('tr', {}, ...heading.map((text) => element('th', { scope: 'col' }, text)))
  const body = rows.map((cells) => element('tr', {}, ...cells.map((text) => element('td', { class: 'foreign' }, text))))
  return element(
    'div',
    { class: 'scroll' },
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...body))
  )
}

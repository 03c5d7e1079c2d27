/** The builds of a project as they run: started here or by others, kept up to date by live messages. */
import { api } from './api';
import type { BuildMode, Job, LogLine } from './types';

const jobsMax = 50;
const logLinesMax = 2_000;

export function isRunning(job: Job): boolean {
  return job.state === 'queued' || job.state === 'running';
}

/** How much of a build is done, 0..1; null while nothing is known. Steps count alike, rows within a step. */
export function fractionDone(job: Job): number | null {
  if (!isRunning(job)) return 1;
  if (job.state === 'queued' || job.steps.length === 0) return null;
  const over = job.steps.filter((step) => step.state !== 'waiting' && step.state !== 'running').length;
  const { rows_done, rows_total } = job.progress;
  const underWay = job.steps.some((step) => step.state === 'running');
  const within = underWay && rows_total !== null && rows_total > 0 ? Math.min(1, rows_done / rows_total) : 0;
  return Math.min(1, (over + within) / job.steps.length);
}

export class Builds {
  readonly #project: string;
  #jobs = $state.raw<readonly Job[]>([]);
  #logs = $state.raw<Readonly<Record<string, readonly LogLine[]>>>({});

  constructor(project: string) {
    this.#project = project;
  }

  /** Newest first. */
  get jobs(): readonly Job[] {
    return this.#jobs;
  }

  get running(): readonly Job[] {
    return this.#jobs.filter(isRunning);
  }

  log(id: string): readonly LogLine[] {
    return this.#logs[id] ?? [];
  }

  async load(signal?: AbortSignal): Promise<void> {
    const { jobs } = await api.builds(this.#project, signal);
    this.#jobs = jobs.slice(0, jobsMax);
  }

  async start(dataset: string, mode: BuildMode): Promise<Job> {
    const job = await api.startBuild(this.#project, dataset, mode);
    this.put(job);
    return job;
  }

  async cancel(id: string): Promise<void> {
    this.put(await api.cancelBuild(this.#project, id));
  }

  /** Fetches a build with its log; lines that came live in between are kept. */
  async loadLog(id: string): Promise<void> {
    const job = await api.build(this.#project, id);
    this.put(job);
    const told = job.log ?? [];
    // Lives only within this call, so nothing has to react to it.
    // eslint-disable-next-line svelte/prefer-svelte-reactivity
    const known = new Set(told.map(lineId));
    this.#setLog(id, [...told, ...this.log(id).filter((line) => !known.has(lineId(line)))]);
  }

  put(job: Job): void {
    const at = this.#jobs.findIndex((known) => known.id === job.id);
    const known = this.#jobs[at];
    // Messages may overtake an answer: a build that is over does not run again.
    if (known && !isRunning(known) && isRunning(job)) return;
    this.#jobs = at < 0 ? [job, ...this.#jobs].slice(0, jobsMax) : this.#jobs.with(at, job);
  }

  append({ job, at, text }: LogLine & { job: string }): void {
    this.#setLog(job, [...this.log(job), { at, text }]);
  }

  #setLog(id: string, lines: readonly LogLine[]): void {
    this.#logs = { ...this.#logs, [id]: lines.slice(-logLinesMax) };
  }
}

function lineId(line: LogLine): string {
  return `${line.at} ${line.text}`;
}

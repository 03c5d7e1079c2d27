/** How the states and kinds of a flow are told: words first, an icon and a tone beside them. */
import type { DatasetRole, DatasetState, Flow, FlowNode, JobState, JobStep, RecipeKind } from './types';

export type Tone = 'neutral' | 'good' | 'attention' | 'bad' | 'busy' | 'live';

export interface StateWords {
  text: string;
  tone: Tone;
  icon: 'check' | 'clock' | 'warning' | 'cross' | 'spinner' | 'pencil' | 'file' | 'dashed' | 'stop';
}

const states: Record<DatasetState, StateWords> = {
  source: { text: 'Original', tone: 'neutral', icon: 'file' },
  fresh: { text: 'Up to date', tone: 'good', icon: 'check' },
  stale: { text: 'Stale', tone: 'attention', icon: 'clock' },
  never_built: { text: 'Never built', tone: 'attention', icon: 'dashed' },
  building: { text: 'Building', tone: 'busy', icon: 'spinner' },
  failed: { text: 'Failed', tone: 'bad', icon: 'cross' },
  missing: { text: 'Missing', tone: 'bad', icon: 'warning' },
  live: { text: 'Live log', tone: 'live', icon: 'pencil' },
};

const roles: Record<DatasetRole, string> = {
  original: 'Original dataset',
  linked: 'Linked dataset',
  editlog: 'Editlog',
  editlog_pivoted: 'Last edits by row',
  edited: 'Edited dataset',
  derived: 'Derived dataset',
};

const recipes: Record<RecipeKind, string> = { replay: 'Replay recipe', apply: 'Apply recipe', sql: 'SQL recipe' };

const steps: Record<JobStep['state'], StateWords> = {
  waiting: { text: 'Waiting', tone: 'neutral', icon: 'dashed' },
  running: { text: 'Building', tone: 'busy', icon: 'spinner' },
  done: { text: 'Built', tone: 'good', icon: 'check' },
  fresh: { text: 'Already up to date', tone: 'good', icon: 'check' },
  failed: { text: 'Failed', tone: 'bad', icon: 'cross' },
  cancelled: { text: 'Stopped', tone: 'neutral', icon: 'stop' },
};

const jobs: Record<JobState, StateWords> = {
  queued: { text: 'Waiting its turn', tone: 'neutral', icon: 'clock' },
  running: { text: 'Building', tone: 'busy', icon: 'spinner' },
  done: { text: 'Finished', tone: 'good', icon: 'check' },
  failed: { text: 'Failed', tone: 'bad', icon: 'cross' },
  cancelled: { text: 'Stopped', tone: 'neutral', icon: 'stop' },
};

export const stateWords = (state: DatasetState): StateWords => states[state];
export const stepWords = (state: JobStep['state']): StateWords => steps[state];
export const jobWords = (state: JobState): StateWords => jobs[state];
export const roleWords = (role: DatasetRole): string => roles[role];

/** What a node is: `Edited dataset`, `SQL recipe`, `Editing table`. */
export function kindWords(node: FlowNode): string {
  if (node.kind === 'webapp') return 'Editing table';
  if (node.kind === 'recipe') return node.recipe_kind ? recipes[node.recipe_kind] : 'Recipe';
  return node.role ? roles[node.role] : 'Dataset';
}

/** Whether a build would bring this dataset up to date. */
export function needsBuild(node: FlowNode): boolean {
  return (
    node.kind === 'dataset' &&
    node.buildable === true &&
    (node.state === 'stale' || node.state === 'never_built' || node.state === 'failed')
  );
}

/**
 * The datasets to ask for so that everything stale is built: those with nothing stale after them, since a build of
 * what is needed takes the stale datasets before it along.
 */
export function buildTargets(flow: Flow): FlowNode[] {
  const after = new Map<string, string[]>();
  for (const { from, to } of flow.edges) after.set(from, [...(after.get(from) ?? []), to]);
  const wanted = new Set(flow.nodes.filter(needsBuild).map((node) => node.id));
  const leadsToWanted = (start: string): boolean => {
    const seen = new Set([start]);
    const queue = [start];
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      for (const next of after.get(id) ?? []) {
        if (wanted.has(next)) return true;
        if (!seen.has(next)) {
          seen.add(next);
          queue.push(next);
        }
      }
    }
    return false;
  };
  return flow.nodes.filter((node) => wanted.has(node.id) && !leadsToWanted(node.id));
}

/** The names of the nodes right before and right after a node, recipes passed over. */
export function neighbours(flow: Flow, id: string): { inputs: FlowNode[]; outputs: FlowNode[] } {
  const byId = new Map(flow.nodes.map((node) => [node.id, node]));
  const find = (start: string, forward: boolean): FlowNode[] => {
    const found: FlowNode[] = [];
    for (const edge of flow.edges) {
      if ((forward ? edge.from : edge.to) !== start) continue;
      const node = byId.get(forward ? edge.to : edge.from);
      if (node && !found.includes(node)) found.push(node);
    }
    return found;
  };
  const isRecipe = byId.get(id)?.kind === 'recipe';
  const step = (forward: boolean): FlowNode[] => {
    const near = find(id, forward);
    if (isRecipe) return near;
    return [...new Set(near.flatMap((node) => (node.kind === 'recipe' ? find(node.id, forward) : [node])))];
  };
  return { inputs: step(false), outputs: step(true) };
}

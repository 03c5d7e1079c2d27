/** Words and colours for the states of deployments and runs. */
import type { Health, ScenarioRun } from './deploy-types';
import type { StateWords } from './flow-words';

export function healthWords(health: Health): StateWords {
  switch (health) {
    case 'healthy':
      return { text: 'Healthy', tone: 'good', icon: 'check' };
    case 'warning':
      return { text: 'Warning', tone: 'attention', icon: 'warning' };
    case 'out_of_sync':
      return { text: 'Changed on this node', tone: 'bad', icon: 'warning' };
    case 'unhealthy':
      return { text: 'Does not work', tone: 'bad', icon: 'cross' };
    default:
      return { text: 'Nothing deployed', tone: 'neutral', icon: 'dashed' };
  }
}

export function runWords(state: ScenarioRun['state']): StateWords {
  switch (state) {
    case 'running':
      return { text: 'Running', tone: 'busy', icon: 'spinner' };
    case 'done':
      return { text: 'Done', tone: 'good', icon: 'check' };
    case 'failed':
      return { text: 'Failed', tone: 'bad', icon: 'cross' };
    default:
      return { text: 'Interrupted', tone: 'attention', icon: 'stop' };
  }
}

/** The beginning of a digest, enough for people to tell bundles apart. */
export function short(digest: string): string {
  return digest.slice(0, 12);
}

/** How the clock of another node differs from this node's. */
export function clockWords(aheadS: number): string {
  const seconds = Math.abs(aheadS);
  if (seconds < 30) return 'Its clock agrees with this node’s.';
  const words = seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
  return `Its clock is ${words} ${aheadS > 0 ? 'ahead' : 'behind'}: set both by a time server.`;
}

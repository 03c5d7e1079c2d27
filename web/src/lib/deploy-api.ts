/** Calls about other nodes: where bundles go, and how they get there. */
import { call } from './api';
import type {
  DeployToken,
  Health,
  NewDeployToken,
  PlanEdit,
  PushState,
  Target,
  TargetTest,
} from './deploy-types';

const part = encodeURIComponent;

export const deployApi = {
  /** The projects that are deployed here or of which bundles have arrived. */
  deployments: (signal?: AbortSignal): Promise<{ deployments: { project: string; health: Health; bundles: number }[] }> =>
    call('GET', '/deployments', { signal }),
  targets: (signal?: AbortSignal): Promise<{ targets: Target[] }> => call('GET', '/targets', { signal }),
  deployTokens: (signal?: AbortSignal): Promise<{ tokens: DeployToken[] }> => call('GET', '/deploy-tokens', { signal }),
  addDeployToken: (token: {
    name: string;
    days: number | null;
    projects: string[];
    may_bring_approvals: boolean;
    may_activate: boolean;
  }): Promise<NewDeployToken> => call('POST', '/deploy-tokens', { body: token }),
  revokeDeployToken: (name: string): Promise<void> => call('DELETE', `/deploy-tokens/${part(name)}`),
  addTarget: (target: {
    name: string;
    address: string;
    node_id: string;
    ca_file: string | null;
    token: string;
  }): Promise<void> =>
    call('POST', '/targets', { body: target }),
  removeTarget: (name: string): Promise<void> => call('DELETE', `/targets/${part(name)}`),
  testTarget: (name: string): Promise<TargetTest> => call('POST', `/targets/${part(name)}/test`, { body: {} }),
  planEdits: (
    digest: string,
    original: string,
    after: number | null,
    signal?: AbortSignal,
  ): Promise<{ rows: PlanEdit[]; next: number | null }> => {
    const query = new URLSearchParams({ original, limit: '100' });
    if (after !== null) query.set('after', String(after));
    return call('GET', `/bundles/${part(digest)}/plan/edits?${query.toString()}`, { signal });
  },
  push: (digest: string, target: string, activate: boolean): Promise<PushState> =>
    call('POST', `/bundles/${part(digest)}/push`, { body: { target, activate } }),
  pushed: (id: string, signal?: AbortSignal): Promise<PushState> => call('GET', `/pushes/${part(id)}`, { signal }),
};

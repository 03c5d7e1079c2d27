/** What may be done in a project, in words, and what brings what along. Pure. */

/** The permissions, in the order in which they are told. */
export const permissions = [
  { name: 'read_dashboards', title: 'Use webapps', meaning: 'See dashboards; see and edit in webapps' },
  { name: 'read_content', title: 'See data', meaning: 'See the flow, the datasets and the builds' },
  { name: 'write_content', title: 'Change', meaning: 'Change the project’s files, and build. For designers' },
  { name: 'run_scenarios', title: 'Run', meaning: 'Start and stop builds and scenarios' },
  { name: 'export_data', title: 'Export', meaning: 'Take whole datasets away' },
  { name: 'approve', title: 'Approve', meaning: 'Approve bundles' },
  { name: 'deploy', title: 'Deploy', meaning: 'Bring bundles to production. For designers' },
  { name: 'administer', title: 'Administer', meaning: 'Everything, and say who may do what. For designers' },
] as const;

/** The permissions that others of the list bring along. */
export function implied(given: readonly string[]): Set<string> {
  const has = new Set(given);
  const brought = new Set<string>();
  if (has.has('administer')) permissions.forEach(({ name }) => brought.add(name));
  if (has.has('write_content') || brought.has('write_content')) brought.add('read_content');
  if (has.has('read_content') || brought.has('read_content')) brought.add('read_dashboards');
  brought.delete('administer');
  return brought;
}

/** A list that was typed with commas or spaces between its names, in lower case and each once. */
export function namesIn(text: string): string[] {
  const names = text
    .split(/[,;\s]+/)
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
  return [...new Set(names)];
}

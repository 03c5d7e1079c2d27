import { describe, expect, it } from 'vitest';
import { implied, namesIn } from '../src/lib/permissions';

describe('permissions', () => {
  it('bring along what they are of no use without', () => {
    expect([...implied(['write_content'])].sort()).toEqual(['read_content', 'read_dashboards']);
    expect([...implied(['read_content'])]).toEqual(['read_dashboards']);
    expect([...implied(['approve', 'deploy', 'run_scenarios'])]).toEqual([]);
    expect(implied(['administer']).size).toBe(7);
  });

  it('are given to names as people type lists', () => {
    expect(namesIn(' Rita, rob;  rita\n')).toEqual(['rita', 'rob']);
    expect(namesIn('  ')).toEqual([]);
  });
});

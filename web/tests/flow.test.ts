import { describe, expect, it } from 'vitest';
import { layoutFlow, type FlowLayout } from '../src/lib/flow-layout';
import { buildTargets, kindWords, neighbours } from '../src/lib/flow-words';
import type { DatasetState, Flow, FlowNode } from '../src/lib/types';

const dataset = (name: string, layer: number, state: DatasetState = 'fresh', buildable = true): FlowNode => ({
  id: `dataset:${name}`,
  kind: 'dataset',
  name,
  layer,
  role: 'derived',
  state,
  buildable,
});
const recipe = (name: string, layer: number): FlowNode => ({
  id: `recipe:${name}`,
  kind: 'recipe',
  name,
  layer,
  recipe_kind: 'sql',
});
const edges = (...pairs: string[]): Flow['edges'] =>
  pairs.map((pair) => {
    const [from = '', to = ''] = pair.split('>');
    return { from, to };
  });

const options = {
  size: (node: FlowNode) => (node.kind === 'recipe' ? { width: 100, height: 30 } : { width: 200, height: 60 }),
  columnGap: 40,
  rowGap: 20,
  padding: 24,
};

function place(layout: FlowLayout, id: string) {
  const found = layout.nodes.find((placed) => placed.node.id === id);
  if (!found) throw new Error(`${id} is not placed`);
  return found;
}

/** Two chains that would cross if they stood in the order given. */
const crossed: Flow = {
  nodes: [
    dataset('a', 0),
    dataset('b', 0),
    recipe('ra', 1),
    recipe('rb', 1),
    dataset('b2', 2),
    dataset('a2', 2),
    dataset('end', 4),
  ],
  edges: edges(
    'dataset:a>recipe:ra',
    'dataset:b>recipe:rb',
    'recipe:ra>dataset:a2',
    'recipe:rb>dataset:b2',
    'dataset:a2>dataset:end',
    'dataset:b2>dataset:end',
    'dataset:a>dataset:end',
  ),
};

describe('layoutFlow', () => {
  const layout = layoutFlow(crossed, options);

  it('puts what comes later further right', () => {
    for (const edge of crossed.edges) {
      const from = place(layout, edge.from);
      expect(place(layout, edge.to).x).toBeGreaterThanOrEqual(from.x + from.width + options.columnGap);
    }
  });

  it('lets no two nodes touch, and keeps all within the picture', () => {
    for (const a of layout.nodes) {
      expect(Math.min(a.x, a.y)).toBeGreaterThanOrEqual(0);
      expect(a.x + a.width).toBeLessThanOrEqual(layout.width);
      expect(a.y + a.height).toBeLessThanOrEqual(layout.height);
      for (const b of layout.nodes) {
        if (a === b) continue;
        const apart = a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y;
        expect(apart, `${a.node.id} and ${b.node.id}`).toBe(true);
      }
    }
  });

  it('orders the layers so that chains do not cross', () => {
    const above = (x: string, y: string) => place(layout, x).y < place(layout, y).y;
    expect(above('dataset:a2', 'dataset:b2')).toBe(above('dataset:a', 'dataset:b'));
  });

  it('draws a chain without branches level', () => {
    const chain: Flow = {
      nodes: [dataset('a', 0), recipe('r', 1), dataset('b', 2)],
      edges: edges('dataset:a>recipe:r', 'recipe:r>dataset:b'),
    };
    for (const edge of layoutFlow(chain, options).edges) expect(edge.path).toMatch(/^M\d+ \d+H\d+$/);
  });

  it('draws one path for each edge, and none for an edge to nowhere', () => {
    expect(layout.edges).toHaveLength(crossed.edges.length);
    const broken = { nodes: [dataset('a', 0)], edges: edges('dataset:a>dataset:gone', 'dataset:a>dataset:a') };
    expect(layoutFlow(broken, options).edges).toEqual([]);
  });

  it('gives an empty picture for an empty flow', () => {
    expect(layoutFlow({ nodes: [], edges: [] }, options)).toEqual({ nodes: [], edges: [], width: 0, height: 0 });
  });

  it('stands an edge that runs backwards and layers that are missing', () => {
    const odd = {
      nodes: [dataset('a', 3), dataset('b', 9)],
      edges: edges('dataset:b>dataset:a', 'dataset:a>dataset:b'),
    };
    const { nodes, edges: paths } = layoutFlow(odd, options);
    expect(nodes).toHaveLength(2);
    expect(paths).toHaveLength(2);
    for (const { path } of paths) expect(path).not.toContain('NaN');
  });

  it('places a thousand nodes in a moment', () => {
    const nodes = Array.from({ length: 1_000 }, (_, i) => dataset(`d${i}`, i % 50));
    const big = { nodes, edges: nodes.slice(1).map((node, i) => ({ from: `dataset:d${i}`, to: node.id })) };
    const started = performance.now();
    layoutFlow(big, options);
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});

describe('buildTargets', () => {
  const flow: Flow = {
    nodes: [
      dataset('original', 0, 'source', false),
      recipe('r1', 1),
      dataset('pivoted', 2, 'stale'),
      recipe('r2', 3),
      dataset('fresh', 4, 'fresh'),
      recipe('r3', 5),
      dataset('end', 6, 'never_built'),
      dataset('other', 2, 'failed'),
    ],
    edges: edges(
      'dataset:original>recipe:r1',
      'recipe:r1>dataset:pivoted',
      'dataset:pivoted>recipe:r2',
      'recipe:r2>dataset:fresh',
      'dataset:fresh>recipe:r3',
      'recipe:r3>dataset:end',
      'dataset:original>dataset:other',
    ),
  };

  it('asks only for the last stale dataset of each chain', () => {
    expect(buildTargets(flow).map((node) => node.name)).toEqual(['end', 'other']);
  });

  it('asks for nothing when nothing is stale, and ends on a cycle', () => {
    expect(buildTargets({ nodes: [dataset('a', 0)], edges: [] })).toEqual([]);
    const cycle = {
      nodes: [dataset('a', 0), dataset('b', 1, 'stale')],
      edges: edges('dataset:a>dataset:b', 'dataset:b>dataset:a'),
    };
    expect(() => buildTargets(cycle)).not.toThrow();
  });

  it('names the datasets around a dataset, its recipes passed over', () => {
    const around = neighbours(flow, 'dataset:fresh');
    expect(around.inputs.map((node) => node.name)).toEqual(['pivoted']);
    expect(around.outputs.map((node) => node.name)).toEqual(['end']);
    expect(neighbours(flow, 'recipe:r2').outputs.map((node) => node.name)).toEqual(['fresh']);
  });

  it('calls every kind of node by its name', () => {
    expect(kindWords(recipe('r', 0))).toBe('SQL recipe');
    expect(kindWords({ id: 'webapp:w', kind: 'webapp', name: 'w', layer: 0 })).toBe('Editing table');
  });
});

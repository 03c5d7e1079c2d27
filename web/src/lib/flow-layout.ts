/**
 * Places the nodes of a flow on a plane: one column per layer (the server gives the layers), an order within each
 * column that keeps crossings few, and smooth edges that go around what lies between. Pure geometry in pixels.
 */
import type { Flow, FlowNode } from './types';

export interface Size {
  width: number;
  height: number;
}

export interface PlacedNode extends Size {
  node: FlowNode;
  /** Left and top. */
  x: number;
  y: number;
}

export interface PlacedEdge {
  from: string;
  to: string;
  /** The `d` of an SVG path. */
  path: string;
}

export interface FlowLayout extends Size {
  nodes: PlacedNode[];
  edges: PlacedEdge[];
}

export interface LayoutOptions {
  size(node: FlowNode): Size;
  columnGap: number;
  rowGap: number;
  padding: number;
}

/** A node, or a bend of an edge that passes a layer between its ends. */
interface Slot {
  id: string;
  node: FlowNode | null;
  layer: number;
  height: number;
  /** Middle of the slot; set by `settle`. */
  y: number;
  before: Slot[];
  after: Slot[];
}

const bendHeight = 12;
const orderSweeps = 12;
const settleSweeps = 60;
/** Steps up to this are made level. */
const stepMax = 14;

export function layoutFlow(flow: Flow, options: LayoutOptions): FlowLayout {
  const { slots, chains } = slotsOf(flow, options);
  const layers = columnsOf(slots);
  order(layers);
  settle(layers, options.rowGap);
  straighten(layers, options.rowGap);

  const widths = layers.map((layer) =>
    layer.reduce((most, slot) => Math.max(most, slot.node ? options.size(slot.node).width : 0), 0),
  );
  const lefts: number[] = [];
  let x = options.padding;
  for (const width of widths) {
    lefts.push(x);
    x += width + (width > 0 ? options.columnGap : 0);
  }

  const top = Math.min(...slots.map((slot) => slot.y - slot.height / 2));
  const bottom = Math.max(...slots.map((slot) => slot.y + slot.height / 2));
  const shift = options.padding - (Number.isFinite(top) ? top : 0);

  const nodes: PlacedNode[] = [];
  const placed = new Map<string, PlacedNode>();
  for (const [index, layer] of layers.entries()) {
    for (const slot of layer) {
      if (slot.node === null) continue;
      const size = options.size(slot.node);
      const place: PlacedNode = {
        node: slot.node,
        ...size,
        x: Math.round((lefts[index] ?? 0) + ((widths[index] ?? 0) - size.width) / 2),
        y: Math.round(slot.y + shift - size.height / 2),
      };
      nodes.push(place);
      placed.set(slot.id, place);
    }
  }

  const edges = chains.flatMap(({ from, to, bends }) => {
    const start = placed.get(from);
    const end = placed.get(to);
    if (!start || !end) return [];
    const lanes = bends.map((bend) => ({
      left: lefts[bend.layer] ?? 0,
      right: (lefts[bend.layer] ?? 0) + (widths[bend.layer] ?? 0),
      y: Math.round(bend.y + shift),
    }));
    return [{ from, to, path: edgePath(start, lanes, end) }];
  });

  const empty = nodes.length === 0;
  return {
    nodes,
    edges,
    width: empty ? 0 : x - options.columnGap + options.padding,
    height: empty ? 0 : Math.round(bottom - top) + 2 * options.padding,
  };
}

interface Chain {
  from: string;
  to: string;
  bends: Slot[];
}

function slotsOf(flow: Flow, options: LayoutOptions): { slots: Slot[]; chains: Chain[] } {
  const used = [...new Set(flow.nodes.map((node) => node.layer))].sort((a, b) => a - b);
  const layerOf = new Map(used.map((layer, index) => [layer, index]));
  const slots: Slot[] = flow.nodes.map((node) => ({
    id: node.id,
    node,
    layer: layerOf.get(node.layer) ?? 0,
    height: options.size(node).height,
    y: 0,
    before: [],
    after: [],
  }));
  const byId = new Map(slots.map((slot) => [slot.id, slot]));

  const chains: Chain[] = [];
  for (const { from, to } of flow.edges) {
    const start = byId.get(from);
    const end = byId.get(to);
    if (!start || !end || start === end) continue;
    const bends: Slot[] = [];
    let last = start;
    // An edge that runs backwards or within a layer (a cycle that the server reports) gets no bends.
    for (let layer = start.layer + 1; layer < end.layer; layer += 1) {
      const bend: Slot = {
        id: `${from}>${to}@${layer}`,
        node: null,
        layer,
        height: bendHeight,
        y: 0,
        before: [],
        after: [],
      };
      join(last, bend);
      bends.push(bend);
      slots.push(bend);
      last = bend;
    }
    if (end.layer > last.layer) join(last, end);
    chains.push({ from, to, bends });
  }
  return { slots, chains };
}

function join(left: Slot, right: Slot): void {
  left.after.push(right);
  right.before.push(left);
}

function columnsOf(slots: Slot[]): Slot[][] {
  const layers: Slot[][] = [];
  for (const slot of slots) (layers[slot.layer] ??= []).push(slot);
  return Array.from(layers, (layer) => layer ?? []);
}

/** Sorts each layer by the mean place of its neighbours, to and fro, and keeps the order with fewest crossings. */
function order(layers: Slot[][]): void {
  let best = layers.map((layer) => [...layer]);
  let fewest = crossings(layers);
  for (let sweep = 0; sweep < orderSweeps && fewest > 0; sweep += 1) {
    const forward = sweep % 2 === 0;
    const indices = layers.map((_, index) => index);
    for (const index of forward ? indices : indices.reverse()) {
      const layer = layers[index] ?? [];
      const place = placesOf(layers[forward ? index - 1 : index + 1] ?? []);
      const weights = new Map(
        layer.map((slot, at) => [slot, mean((forward ? slot.before : slot.after).map((s) => place.get(s) ?? 0)) ?? at]),
      );
      layer.sort((a, b) => (weights.get(a) ?? 0) - (weights.get(b) ?? 0));
    }
    const now = crossings(layers);
    if (now < fewest) {
      fewest = now;
      best = layers.map((layer) => [...layer]);
    }
  }
  for (const [index, layer] of best.entries()) layers[index] = layer;
}

/** How many pairs of edges between neighbouring layers cross. */
function crossings(layers: Slot[][]): number {
  let found = 0;
  for (let index = 0; index + 1 < layers.length; index += 1) {
    const place = placesOf(layers[index + 1] ?? []);
    const ends = (layers[index] ?? []).flatMap((slot, at) =>
      slot.after.map((next) => [at, place.get(next) ?? 0] as const),
    );
    for (const [i, first] of ends.entries()) {
      for (const second of ends.slice(i + 1)) {
        if ((first[0] - second[0]) * (first[1] - second[1]) < 0) found += 1;
      }
    }
  }
  return found;
}

function placesOf(layer: Slot[]): Map<Slot, number> {
  return new Map(layer.map((slot, index) => [slot, index]));
}

/** Gives every slot its height on the plane: near the mean of its neighbours, with room between, order kept. */
function settle(layers: Slot[][], rowGap: number): void {
  for (const layer of layers)
    spread(
      layer,
      layer.map(() => 0),
      rowGap,
    );
  for (let sweep = 0; sweep < settleSweeps; sweep += 1) {
    const indices = layers.map((_, index) => index);
    for (const index of sweep % 2 === 0 ? indices : indices.reverse()) {
      const layer = layers[index] ?? [];
      const wanted = layer.map((slot) => {
        let sum = 0;
        let weights = 0;
        for (const other of [...slot.before, ...slot.after]) {
          const weight = pull(slot, other);
          sum += weight * other.y;
          weights += weight;
        }
        return weights === 0 ? slot.y : sum / weights;
      });
      spread(layer, wanted, rowGap);
    }
  }
}

/** Takes out small steps between neighbours where there is room, so that what is nearly level becomes level. */
function straighten(layers: Slot[][], rowGap: number): void {
  for (const layer of layers) {
    for (const [index, slot] of layer.entries()) {
      const nearest = [...slot.before].sort((a, b) => Math.abs(a.y - slot.y) - Math.abs(b.y - slot.y))[0];
      if (!nearest || Math.abs(nearest.y - slot.y) > stepMax) continue;
      const above = layer[index - 1];
      const below = layer[index + 1];
      const fits = (other: Slot | undefined): boolean =>
        !other || Math.abs(other.y - nearest.y) >= (other.height + slot.height) / 2 + rowGap / 2;
      if (fits(above) && fits(below)) slot.y = nearest.y;
    }
  }
}

/** How strongly an edge wants to be level: a long one most, then a chain without branches. */
function pull(a: Slot, b: Slot): number {
  if (a.node === null && b.node === null) return 8;
  const [left, right] = a.layer < b.layer ? [a, b] : [b, a];
  return left.after.length === 1 && right.before.length === 1 ? 4 : 1;
}

/**
 * Puts the slots as near to `wanted` as their order and the gaps allow: least squares with order constraints, solved
 * by pooling neighbours that collide (isotonic regression).
 */
function spread(layer: Slot[], wanted: number[], rowGap: number): void {
  const offsets: number[] = [];
  let offset = 0;
  for (const [index, slot] of layer.entries()) {
    const previous = layer[index - 1];
    if (previous) offset += (previous.height + slot.height) / 2 + rowGap;
    offsets.push(offset);
  }
  const pools: { sum: number; size: number }[] = [];
  for (const [index] of layer.entries()) {
    let pool = { sum: (wanted[index] ?? 0) - (offsets[index] ?? 0), size: 1 };
    for (let last = pools.at(-1); last && last.sum / last.size > pool.sum / pool.size; last = pools.at(-1)) {
      pool = { sum: last.sum + pool.sum, size: last.size + pool.size };
      pools.pop();
    }
    pools.push(pool);
  }
  let index = 0;
  for (const { sum, size } of pools) {
    for (let i = 0; i < size; i += 1, index += 1) {
      const slot = layer[index];
      if (slot) slot.y = sum / size + (offsets[index] ?? 0);
    }
  }
}

function mean(values: number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function edgePath(start: PlacedNode, lanes: { left: number; right: number; y: number }[], end: PlacedNode): string {
  let x = start.x + start.width;
  let y = start.y + start.height / 2;
  let path = `M${x} ${y}`;
  const curveTo = (toX: number, toY: number): void => {
    const middle = (x + toX) / 2;
    path += y === toY ? `H${toX}` : `C${middle} ${y} ${middle} ${toY} ${toX} ${toY}`;
    x = toX;
    y = toY;
  };
  for (const lane of lanes) {
    curveTo(lane.left, lane.y);
    if (lane.right > lane.left) curveTo(lane.right, lane.y);
  }
  curveTo(end.x, end.y + end.height / 2);
  return path;
}

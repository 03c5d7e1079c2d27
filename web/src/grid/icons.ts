/** Icons as small inline SVG made by DOM calls, drawn on a 16-pixel square in the current colour. */

const paths = {
  filter: 'M2.5 3.5h11L9.5 8.4v4.1l-3 1.2V8.4z',
  sort: 'M8 13V3.5M4.2 7 8 3.2 11.8 7',
  close: 'M4 4l8 8M12 4l-8 8',
  warning: 'M8 2.2 14.4 13.4H1.6zM8 6.4v3.4M8 11.6v.3',
  conflict: 'M2 5.5h9.5M8.8 2.8l2.8 2.7-2.8 2.7M14 10.5H4.5M7.2 7.8 4.4 10.5l2.8 2.7',
  offline: 'M2 6.4a9 9 0 0 1 12 0M4.3 9a5.6 5.6 0 0 1 7.4 0M8 12.4v.2M2.5 2.5l11 11',
  history: 'M2.6 8a5.4 5.4 0 1 0 1.6-3.8L2.6 5.8M2.6 2.6v3.2h3.2M8 5v3.3l2.2 1.3',
  revert: 'M3 6h6.2a3.6 3.6 0 0 1 0 7.2H6M3 6l3-3M3 6l3 3',
  check: 'M3 8.5l3.4 3.4L13 4.8',
  plus: 'M8 3v10M3 8h10',
  stale: 'M13.4 8A5.4 5.4 0 0 1 4 11.6L2.6 10.2M2.6 13.2v-3h3M2.6 8A5.4 5.4 0 0 1 12 4.4l1.4 1.4M13.4 2.8v3h-3',
  calendar: 'M2.5 4h11v9.5h-11zM2.5 7h11M5.3 2.2V5M10.7 2.2V5',
  left: 'M10 3.5 5.5 8l4.5 4.5',
  right: 'M6 3.5 10.5 8 6 12.5',
  down: 'M3.5 6 8 10.5 12.5 6',
  columns: 'M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
} as const;

export type IconName = keyof typeof paths;

export function icon(name: IconName, size = 16): SVGSVGElement {
  const namespace = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('width', String(size));
  svg.setAttribute('height', String(size));
  svg.setAttribute('class', 'sg-svg');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(namespace, 'path');
  path.setAttribute('d', paths[name]);
  svg.append(path);
  return svg;
}

/** Numbers, sizes and times as people read them. */

const whole = new Intl.NumberFormat('en');

/** `10,000` */
export function count(value: number): string {
  return whole.format(value);
}

/** `1 row`, `10,000 rows` */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `812 bytes`, `1.4 MB` (powers of 1,000, as file managers show them) */
export function bytes(value: number): string {
  const units = ['kB', 'MB', 'GB', 'TB'];
  if (value < 1_000) return counted(value, 'byte');
  let size = value;
  let unit = '';
  for (const next of units) {
    size /= 1_000;
    unit = next;
    if (size < 999.5) break;
  }
  return `${size < 9.95 ? size.toFixed(1) : count(Math.round(size))} ${unit}`;
}

/** What a browser calls itself (its `User-Agent`), in words: `Firefox on Windows`. Others stay as they are. */
export function browserName(agent: string): string {
  if (agent === '') return 'not told';
  // Most claim to be several others: the first that fits is the one.
  const browsers: [RegExp, string][] = [
    [/\bEdgA?\//, 'Edge'],
    [/\bOPR\//, 'Opera'],
    [/\b(Firefox|FxiOS)\//, 'Firefox'],
    [/\b(Chrome|Chromium|CriOS|HeadlessChrome)\//, 'Chrome'],
    [/\bVersion\/.*\bSafari\//, 'Safari'],
  ];
  const systems: [RegExp, string][] = [
    [/Windows/, 'Windows'],
    [/iPhone|iPad/, 'iOS'],
    [/Android/, 'Android'],
    [/Macintosh|Mac OS X/, 'macOS'],
    [/CrOS/, 'ChromeOS'],
    [/Linux|X11/, 'Linux'],
  ];
  const browser = browsers.find(([sign]) => sign.test(agent))?.[1];
  if (browser === undefined) return agent;
  const system = systems.find(([sign]) => sign.test(agent))?.[1];
  return system === undefined ? browser : `${browser} on ${system}`;
}

/** `0.4 s`, `12 s`, `3 min 20 s` */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** Day and time in the reader's own zone; what is no time is shown as it is. */
export function dateTime(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : clock.format(date);
}

/** Time of day with seconds, for log lines. */
export function timeOfDay(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : clockSeconds.format(date);
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** `just now`, `5 minutes ago`, `yesterday`; further back the date itself. */
export function ago(iso: string, now: number): string {
  const then = new Date(iso).getTime();
  if (Number.isNaN(then)) return iso;
  const seconds = Math.round((now - then) / 1_000);
  if (seconds < 45) return 'just now';
  if (seconds < 3_600) return relative.format(-Math.max(1, Math.round(seconds / 60)), 'minute');
  if (seconds < 86_400) return relative.format(-Math.round(seconds / 3_600), 'hour');
  if (seconds < 7 * 86_400) return relative.format(-Math.round(seconds / 86_400), 'day');
  return dateTime(iso);
}

/** A key as people read it: several key columns come as a JSON array of texts. */
export function keyText(key: string): string {
  if (!key.startsWith('[')) return key;
  try {
    const parts: unknown = JSON.parse(key);
    if (Array.isArray(parts) && parts.length > 1 && parts.every((item) => typeof item === 'string')) {
      return parts.join(' · ');
    }
  } catch {
    // A single key may well begin with a bracket.
  }
  return key;
}

/** The parts of a sentence of the server, which puts names and values between backticks. A lone backtick is a character. */
export function sentenceParts(text: string): { text: string; code: boolean }[] {
  const pieces = text.split('`');
  if (pieces.length % 2 === 0) return [{ text, code: false }];
  return pieces.map((piece, at) => ({ text: piece, code: at % 2 === 1 })).filter((part) => part.text !== '');
}

/** One or two letters that stand for a person. */
export function initials(name: string): string {
  const words = name.split(/[\s\p{P}]+/u).filter((word) => word !== '');
  const first = [...(words[0] ?? '?')][0] ?? '?';
  const last = words.length > 1 ? ([...(words.at(-1) ?? '')][0] ?? '') : '';
  return (first + last).toLocaleUpperCase();
}

/** A steady number in `0..size` for a text, so that a person keeps one colour. */
export function hashTo(text: string, size: number): number {
  let hash = 0;
  for (let i = 0; i < text.length; i += 1) hash = (hash * 31 + text.charCodeAt(i)) >>> 0;
  return hash % size;
}

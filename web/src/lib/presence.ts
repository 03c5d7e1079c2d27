/** Tells the others where one is: at most once a second while moving, and again now and then so that it stays known. */
import { initials } from './format';
import type { Presence } from './types';

export interface Place {
  key: string | null;
  column: string | null;
  editing: boolean;
}

export interface PresenceSender {
  moveTo(place: Place): void;
  /** Tells the place again, for those who may have missed it: after the connection was lost. */
  again(): void;
  /** Tells nothing more. That one has left is known by the live connection, which ends with the page. */
  stop(): void;
}

const gapMs = 1_000;
const repeatMs = 20_000;
const nowhere: Place = { key: null, column: null, editing: false };

/** `send` must not throw; a lost message is made good by the next one. */
export function presenceSender(send: (place: Place) => void): PresenceSender {
  let place = nowhere;
  let sentAt = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function sendNow(): void {
    clearTimeout(timer);
    sentAt = Date.now();
    send(place);
    timer = setTimeout(sendNow, repeatMs);
  }

  return {
    moveTo(next) {
      if (next.key === place.key && next.column === place.column && next.editing === place.editing) return;
      place = next;
      clearTimeout(timer);
      const waitMs = sentAt + gapMs - Date.now();
      if (waitMs <= 0) sendNow();
      else timer = setTimeout(sendNow, waitMs);
    },
    again() {
      if (place.key !== null) sendNow();
    },
    stop() {
      clearTimeout(timer);
    },
  };
}

export interface Person {
  user: string;
  name: string;
  initials: string;
  /** Each place of the person: one for every window that is open. */
  places: Presence[];
}

/** One entry for each person, however many windows they have open, in a steady order. */
export function people(presence: readonly Presence[]): Person[] {
  const byUser = new Map<string, Person>();
  for (const place of presence) {
    const person = byUser.get(place.user);
    if (person) person.places.push(place);
    else {
      const name = place.name === '' ? place.user : place.name;
      byUser.set(place.user, { user: place.user, name, initials: initials(name), places: [place] });
    }
  }
  return [...byUser.values()].sort((a, b) => a.name.localeCompare(b.name));
}

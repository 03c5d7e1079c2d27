/** Something that is loaded from the server for a component, again when asked. */
import { isAbort } from './api';

export class Loaded<T> {
  #value = $state.raw<T | null>(null);
  #failure = $state.raw<unknown>(null);
  #attempt = $state(0);

  /** To be made while a component is set up; what `load` reads decides when it is loaded again. */
  constructor(load: (signal: AbortSignal) => Promise<T>) {
    $effect(() => {
      void this.#attempt;
      const abort = new AbortController();
      load(abort.signal).then(
        (value) => {
          this.#value = value;
          this.#failure = null;
        },
        (error: unknown) => {
          if (!isAbort(error)) this.#failure = error;
        },
      );
      return () => abort.abort();
    });
  }

  get value(): T | null {
    return this.#value;
  }

  get failure(): unknown {
    return this.#failure;
  }

  /** Loads it again; what is there stays meanwhile. */
  again = (): void => {
    this.#attempt += 1;
  };
}

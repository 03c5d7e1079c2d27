/** Scroll mapping: where in the table a scroll position is.
 *
 *  Chromium caps an element at 33.5M px, so the scrolled element is capped at 15M px and the table has
 *  a position of its own. Small movements are applied pixel for pixel, far jumps by proportion. */

export const SIZER_PX_MAX = 15_000_000;
/** Rows are placed relative to a base that moves in these steps, so that no offset grows beyond what a float places exactly. */
export const BASE_STEP_PX = 500_000;
const JUMP_SCREENS = 1.5;

export class ScrollMap {
  /** Position in the table in px, 0 to `virtualMax`. */
  top = 0;
  private physical = 0;
  private contentPx = 0;
  private viewportPx = 1;

  get sizerPx(): number {
    return Math.min(this.contentPx, SIZER_PX_MAX);
  }

  get capped(): boolean {
    return this.contentPx > SIZER_PX_MAX;
  }

  get virtualMax(): number {
    return Math.max(0, this.contentPx - this.viewportPx);
  }

  get physicalMax(): number {
    return Math.max(0, this.sizerPx - this.viewportPx);
  }

  resize(rows: number, rowHeight: number, viewportPx: number): void {
    this.contentPx = rows * rowHeight;
    this.viewportPx = Math.max(1, viewportPx);
    this.moveTo(this.top);
  }

  /** Moves the table and returns the scroll position that belongs to it. */
  moveTo(top: number): number {
    this.top = Math.min(this.virtualMax, Math.max(0, top));
    this.physical = this.physicalOf(this.top);
    return this.physical;
  }

  /** Takes a scroll event. Returns true for a far jump, as when the thumb is dragged. */
  scrolled(physical: number): boolean {
    const moved = physical - this.physical;
    this.physical = physical;
    if (moved === 0) return false;
    if (!this.capped) {
      this.top = Math.min(this.virtualMax, Math.max(0, physical));
      return Math.abs(moved) > this.viewportPx * JUMP_SCREENS;
    }
    if (Math.abs(moved) <= this.viewportPx * JUMP_SCREENS && physical > 0 && physical < this.physicalMax) {
      this.top = Math.min(this.virtualMax, Math.max(0, this.top + moved));
      return false;
    }
    this.top = this.virtualOf(physical);
    return true;
  }

  /** The scroll position that belongs to `top`; used to put the thumb right when scrolling has ended. */
  physicalOf(top: number): number {
    if (!this.capped) return top;
    if (top <= 0) return 0;
    if (top >= this.virtualMax) return this.physicalMax;
    return Math.min(this.physicalMax - 1, Math.max(1, Math.round((top / this.virtualMax) * this.physicalMax)));
  }

  private virtualOf(physical: number): number {
    if (this.physicalMax === 0) return 0;
    return Math.min(1, Math.max(0, physical / this.physicalMax)) * this.virtualMax;
  }
}

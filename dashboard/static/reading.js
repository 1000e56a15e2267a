// Whether somebody reads a part of the page now: then nothing in it changes its place. Points at it or has the focus in it, and has
// moved within the last minute, so that a pointer that was left there holds nothing for ever.

const HELD_MS = 60_000;

export function reading(place) {
  let moved = -HELD_MS;
  for (const sign of ["pointermove", "pointerdown", "keydown", "focusin", "wheel"]) place.addEventListener(sign, () => (moved = performance.now()), { passive: true });
  return () => performance.now() - moved < HELD_MS && (place.matches(":hover") || place.contains(document.activeElement));
}

/** Brent's way to notice that steps lead in a circle, however long, while remembering one of them. */
export interface CircleWatch {
  /** Whether a step was made before; in a circle it is told once that has been gone round twice or thrice. */
  comesAgain(step: string): boolean;
}

export function createCircleWatch(): CircleWatch {
  let kept: string | undefined;
  let steps = 0;
  let power = 1;
  return {
    comesAgain(step) {
      if (step === kept) return true;
      steps += 1;
      if (steps === power) {
        kept = step;
        power *= 2;
        steps = 0;
      }
      return false;
    },
  };
}

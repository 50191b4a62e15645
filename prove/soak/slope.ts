/** A straight line through points by least squares: its slope, and that slope's standard error. */
export function slopeOf(points: readonly { readonly x: number; readonly y: number }[]): {
  slope: number;
  error: number;
} {
  const count = points.length;
  if (count < 3) return { slope: 0, error: Number.POSITIVE_INFINITY };
  const mean = (of: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / count;
  const [meanX, meanY] = [mean(({ x }) => x), mean(({ y }) => y)];
  const spread = count * mean(({ x }) => (x - meanX) ** 2);
  const slope = (count * mean(({ x, y }) => (x - meanX) * (y - meanY))) / spread;
  const rest = count * mean(({ x, y }) => (y - meanY - slope * (x - meanX)) ** 2);
  return { slope, error: Math.sqrt(rest / (count - 2) / spread) };
}

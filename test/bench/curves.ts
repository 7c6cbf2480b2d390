import { writeFileSync } from 'node:fs';
import { init } from 'echarts';
import { shown } from './figures.ts';

/** How something grows: one point for each size, in order. */
export type Curve = {
  /** Of the file. */
  name: string;
  title: string;
  x: string;
  y: string;
  lines: { name: string; points: [x: number, y: number][] }[];
};

/** Writes a curve as SVG, both axes logarithmic: what grows in proportion is a straight line. */
export function drawCurve(path: string, { title, x, y, lines }: Curve): void {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 640, height: 400 });
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    title: { text: title, left: 'center' },
    legend: { bottom: 0 },
    grid: { left: 70, right: 30, top: 50, bottom: 70 },
    xAxis: { type: 'log', name: x, nameLocation: 'middle', nameGap: 28, min: 'dataMin', max: 'dataMax' },
    yAxis: { type: 'log', name: y, min: 'dataMin', axisLabel: { formatter: shown } },
    series: lines.map(({ name, points }) => ({ type: 'line', name, data: points })),
  });
  writeFileSync(path, chart.renderToSVGString());
  chart.dispose();
}

/**
 * The worst step of a curve: how many times more it grew than its size did. Up to 1 it is no worse than linear; what costs
 * the same whatever the size makes it less.
 */
export function worstStep(points: [x: number, y: number][]): number {
  const steps = points.slice(1).map(([x, y], i) => {
    const [x0, y0] = points[i] ?? [x, y];
    return y / y0 / (x / x0);
  });
  return Math.max(...steps);
}

#!/usr/bin/env node
/**
 * Draws what a run found as SVG, and keeps both for the README:
 *
 *     node bench/dist/plot.js [RESULTS]        bench/results/latest.json -> headline.json and headline.svg beside it
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { find, type Results } from './results.js';
import { median, type Spread, spread } from './statistics.js';
import { describeTraffic } from './traffic.js';

const RESULTS = new URL('../results/', import.meta.url);

const DRAWN_TRAFFIC = ['plain-64', 'segments-64', 'segments-1200', 'answers-64'];
const DRAWN = ['kernel', 'shim', 'shim-no-merge', 'c-loop', 'c-loop-uso', 'fs-stream'];

const WIDTH = 760;
const LABELS = 120;
const NUMBERS = 190;
const BAR = 14;
const ROW = 20;
const TITLE = 30;
const TOP = 12;
const FOOT = 46;

/** Colours that can be read on white and on black. The shim's bars stand out. */
const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600 }
    .note { fill: #59636e }
    .bar { fill: #8c959f }
    .ours { fill: #0969da }
    .spread { stroke: #1f2328 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .bar { fill: #6e7681 }
      .ours { fill: #4493f8 }
      .spread { stroke: #f0f6fc }
    }`;

interface Bar {
  candidate: string;
  rate: Spread;
  cpu: number | null;
}

export function draw(results: Results): string {
  const parts: string[] = [];
  let y = TOP;
  for (const traffic of results.traffic.filter(({ name }) => DRAWN_TRAFFIC.includes(name))) {
    const bars = DRAWN.flatMap(candidate => barOf(results, candidate, traffic.name));
    const longest = Math.max(...bars.map(({ rate }) => rate.high));
    parts.push(text(0, y + 14, describeTraffic(traffic), 'title'));
    y += TITLE;
    for (const bar of bars) {
      parts.push(drawBar(bar, y, (WIDTH - LABELS - NUMBERS) / longest));
      y += ROW;
    }
    y += TOP;
  }
  const { machine, options } = results;
  const notes = [
    `Thousand datagrams a second · CPU time of the process for each. Medians of ${options.rounds} rounds; lines: their range.`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, Node.js ${machine.node}`,
  ];
  notes.forEach((note, i) => {
    parts.push(text(0, y + 12 + i * ROW, note, 'note'));
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + FOOT}" width="${WIDTH}" role="img" aria-label="Datagrams a second, by traffic and candidate">`,
    `  <style>${STYLE}\n  </style>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function barOf({ load }: Results, candidate: string, traffic: string): Bar[] {
  const rounds = find(load, candidate, traffic);
  if (rounds.length === 0) return [];
  const cpu = rounds[0].cpu === null ? null : median(rounds.map(one => one.cpu ?? Number.NaN));
  return [{ candidate, rate: spread(rounds.map(one => one.rate / 1000)), cpu }];
}

function drawBar({ candidate, rate, cpu }: Bar, y: number, scale: number): string {
  const at = (value: number): string => (LABELS + value * scale).toFixed(1);
  const middle = y + BAR / 2;
  const kind = candidate.startsWith('shim') ? 'bar ours' : 'bar';
  const numbers = [rate.median.toFixed(0), ...(cpu === null ? [] : [`${cpu.toFixed(0)} ns`])].join(' · ');
  return [
    text(LABELS - 8, y + 11, candidate, 'name', 'end'),
    `  <rect class="${kind}" x="${LABELS}" y="${y}" width="${(rate.median * scale).toFixed(1)}" height="${BAR}" rx="2"/>`,
    `  <path class="spread" d="M${at(rate.low)} ${middle}H${at(rate.high)}"/>`,
    text(Number(at(rate.high)) + 8, y + 11, numbers, 'number'),
  ].join('\n');
}

function text(x: number, y: number, content: string, kind: string, anchor = 'start'): string {
  return `  <text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

const results = JSON.parse(
  readFileSync(process.argv[2] ?? new URL('latest.json', RESULTS), 'utf8'),
) as Results;
writeFileSync(new URL('headline.json', RESULTS), `${JSON.stringify(results, null, 1)}\n`);
writeFileSync(new URL('headline.svg', RESULTS), draw(results));

/** What one micro-benchmark found. */
export interface MicroFigure {
  name: string;
  value: number;
  /** 'ns/packet', 'bytes/flow', ...: printed after the value. */
  unit: string;
}

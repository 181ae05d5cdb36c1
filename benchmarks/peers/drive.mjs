// The protocol between peers.py and the drivers of the Node peers; see drive.py.
import { writeFileSync } from "node:fs";

const [phase, url, count, due, folder] = process.argv.slice(2);
export const PHASE = phase;
export const URL = url;
export const COUNT = Number(count);
export const DUE = new Date(Number(due) * 1000);

const began = new Float64Array(COUNT);
let noted = 0;

export function record() {
  began[noted++] = (performance.timeOrigin + performance.now()) / 1000;
  if (noted === COUNT) report("begun");
}

export function report(line) {
  process.stdout.write(line + "\n");
}

export function endAtSigterm() {
  const end = () => {
    writeFileSync(`${folder}/began`, Buffer.from(began.buffer, 0, noted * 8));
    process.exit(0);
  };
  process.removeAllListeners("SIGTERM");
  process.on("SIGTERM", end);
}

// What the drivers of Node's peers share; see drive.py.
import { writeFileSync } from "node:fs";

const [phase, url, count, due, folder] = process.argv.slice(2);
export const PHASE = phase;
export const URL = url;
export const COUNT = Number(count);
export const DUE = new Date(Number(due) * 1000);

const began = new Float64Array(COUNT);
let many = 0;

export function note() {
  began[many++] = (performance.timeOrigin + performance.now()) / 1000;
  if (many === COUNT) say("begun");
}

export function say(what) {
  process.stdout.write(what + "\n");
}

export function leaveAtSigterm() {
  const leave = () => {
    writeFileSync(`${folder}/began`, Buffer.from(began.buffer, 0, many * 8));
    process.exit(0);
  };
  process.removeAllListeners("SIGTERM");
  process.on("SIGTERM", leave);
}

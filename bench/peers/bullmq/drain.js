// The peer of `redis-drain` in JavaScript: BullMQ with one worker.
//
// `node drain.js redis-drain BullMQ` fills a queue and then starts its worker in this process. It prints
// one line of JSON, as the other sides do: the work of one repetition, and the seconds of each.
//
// node-redis puts what is asked at once into one write; with ioredis, BullMQ drained half as many tasks.

import { Queue, Worker } from "bullmq";
import { createClient } from "redis";

const REPETITIONS = 3;
const TASKS = 20_000;
const BULK = 1_000;

// How many tasks run at once. 5 and 10 were slower, and more than 30 too.
const CONCURRENCY = 20;

const QUEUE = "bench";

const connect = () => createClient({ url: process.env.CELERIAC_TEST_REDIS });

/** Sends the backlog; the bodies are empty, as the tasks are. */
async function fill() {
  const queue = new Queue(QUEUE, { connection: connect() });
  const jobs = Array.from({ length: BULK }, () => ({ name: "tick", data: {} }));
  for (let sent = 0; sent < TASKS; sent += BULK) await queue.addBulk(jobs);
  await queue.close();
}

/** Seconds from the first task to the last. */
async function drain() {
  let ran = 0;
  let first;
  let worker;
  const seconds = await new Promise((resolve, reject) => {
    const tick = async () => {
      ran += 1;
      if (ran === 1) first = process.hrtime.bigint();
      if (ran === TASKS) resolve(Number(process.hrtime.bigint() - first) / 1e9);
    };
    worker = new Worker(QUEUE, tick, {
      connection: connect(),
      concurrency: CONCURRENCY,
      // Nothing of a task is left when it has run, as with the other sides.
      removeOnComplete: { count: 0 },
    });
    worker.on("error", reject);
    worker.on("failed", (_job, error) => reject(error));
  });
  await worker.close();
  return seconds;
}

const [measure, side] = process.argv.slice(2);
if (measure !== "redis-drain" || side !== "BullMQ") {
  console.error(`error: no such measure or side: ${measure} ${side}`);
  process.exit(2);
}
const seconds = [];
for (let repetition = 0; repetition < REPETITIONS; repetition += 1) {
  await fill();
  seconds.push(await drain());
}
console.log(JSON.stringify({ amount: TASKS - 1, seconds }));
// Connections that we opened would keep the process.
process.exit(0);

"""The risk flow under attack, at full length: a flood of identities, and ten times what it can do.

`python benchmarks/flood.py [--identities 5000000] [--seconds 60]` plays two attacks and says what came of them; the
exit code is 1 if anything was lost or grew.

- flood: identities never seen before, through the stages of one partition in this process, 2,000 users at most. The
  regulars' features must be those of a run without the flood, value for value; state and memory must stay flat.
- overload, on a broker: the sustainable rate is measured first; then ten times that rate for a minute, and the time
  until the lag is gone. Every offset must be answered exactly once, in order; /healthz and /readyz must say 200.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "operators"))

import attacks
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.events import events
from benchmarks.kafka import PARTITIONS, ROOT, Kafka, create, environment, fill, free_ports

# Ids for more than ten minutes of the flood: beyond that bound ids are forgotten early, the regulars' too, and an event
# of theirs that is sent twice counts twice (`tidegate_dedup_evicted_total` says so).
BOUNDS = {"featurize__max_users": 2_000, "featurize__dedup_max": 100_000, "tier__max_users": 500}
MB = 1_000_000
MEMORY_TOLERANCE_MB = 16
"""What an allocator may keep or give back between two samples; 5,000,000 rows would be 8,500 MB."""


def resident(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def flood(identities: int) -> bool:
    before, calm = attacks.people()
    quiet = attacks.Partition(**BOUNDS).feed(before).feed(calm).people
    partition = attacks.Partition(**BOUNDS).feed(before)
    each = identities // len(calm) + 1
    samples, sizes, began = [], [], time.perf_counter()
    for part in range(10):
        first, end = part * len(calm) // 10, (part + 1) * len(calm) // 10
        partition.feed(attacks.during(calm[first:end], attacks.newcomers(each), first))
        samples.append(resident())
        # Ids come and go with the rate of the last ten minutes; bounded, but not constant.
        sizes.append(sum(partition.state_bytes().values()) - 16 * int(partition.measured("tidegate_dedup_entries")))
        print(
            f"  {end * each:11,} identities: {samples[-1]:6.1f} MB resident, {sizes[-1]:,} bytes of state without ids",
            flush=True,
        )
    same = partition.people == quiet
    flat = max(samples[1:]) - samples[1] < MEMORY_TOLERANCE_MB and max(sizes) - sizes[0] < 0.02 * sizes[0]
    evicted = partition.measured("tidegate_entities_evicted_total")
    print(
        f"flood: {each * len(calm):,} identities in {time.perf_counter() - began:.0f} s, {evicted:,.0f} evicted; "
        f"features of {len(quiet):,} events of regulars {'equal' if same else 'CHANGED'}; "
        f"memory {'flat' if flat else 'GREW'}"
    )
    return same and flat


class Flow:
    """A process of the flow, asked how it is."""

    def __init__(self, bootstrap: str, prefix: str, batch_max: int) -> None:
        self.port = free_ports(1)[0]
        own = {"TIDEGATE_METRICS__PORT": str(self.port), "TIDEGATE_RISK__BATCH_MAX": str(batch_max)}
        settings = environment(bootstrap, prefix, **own)
        self.process = subprocess.Popen([sys.executable, "-m", "flows", "run", "risk"], env=settings, cwd=ROOT)
        while self.ask("/readyz")[0] != 200:
            if self.process.poll() is not None:
                raise SystemExit(f"the flow ended with {self.process.returncode}")
            time.sleep(0.2)

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    def total(self, start: str) -> float:
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def answered(self) -> float:
        return sum(
            self.total(f'tidegate_records_received_total{{flow="risk",partition="{each}",stage="encode"}}')
            for each in range(PARTITIONS)
        )


def publish_at(bootstrap: str, topic: str, rate: float, seconds: int) -> int:
    """Publish at an even rate, or as fast as this machine can; return how many."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    lines = list(events(200_000, 20_000))
    began, number = time.perf_counter(), 0
    while (gone := time.perf_counter() - began) < seconds:
        due = int(gone * rate)
        if number >= due:
            time.sleep(0.001)
        for _ in range(min(2_000, due - number)):
            user, line, time_ms = lines[number % len(lines)]
            try:
                producer.produce(topic, line, user, number % PARTITIONS, timestamp=time_ms)
            except BufferError:
                producer.poll(0.05)
                break
            number += 1
        producer.poll(0)
    producer.flush()
    return number


def counted(bootstrap: str, topic: str, ends: list[int]) -> bool:
    """Whether the offsets of the answers in each partition are 0, 1, 2 ... to the end of the input."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "count",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    following, open_ends, good = [0] * PARTITIONS, set(range(PARTITIONS)), True
    while open_ends:
        for message in consumer.consume(2_000, 0.5):
            partition = message.partition()
            if message.error() is None:
                good &= json.loads(message.value())["offset"] == following[partition]
                following[partition] += 1
            elif message.error().code() == KafkaError._PARTITION_EOF:
                open_ends.discard(partition)
    consumer.close()
    return good and following == ends


def ends(bootstrap: str, topic: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends"})
    found = [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10)[1] for each in range(PARTITIONS)]
    consumer.close()
    return found


def overload(seconds: int, calibration: int, batch_max: int) -> bool:
    server, flow, publisher = Kafka().start(), None, None
    try:
        prefix = f"f{uuid.uuid4().hex[:6]}."
        topic = f"{prefix}events"
        create(server.bootstrap, prefix)
        fill(server.bootstrap, topic, calibration, 20_000)
        flow = Flow(server.bootstrap, prefix, batch_max)
        first, began = flow.answered(), time.perf_counter()
        while flow.answered() < calibration:
            time.sleep(0.1)
        rate = (calibration - first) / (time.perf_counter() - began)
        print(
            f"  sustainable: {rate:,.0f} events/s, broker and flow on this machine; {resident(flow.process.pid):.0f} MB"
        )

        command = [sys.executable, __file__, "--publish", server.bootstrap, topic, str(10 * rate), str(seconds)]
        publisher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        states: set[tuple[int, int]] = set()
        samples, lags, ended = [], [], 0.0
        began, told = time.perf_counter(), 0.0
        while True:
            time.sleep(0.5)
            states.add((flow.ask("/healthz")[0], flow.ask("/readyz")[0]))
            samples.append(resident(flow.process.pid))
            lags.append(flow.total("tidegate_lag_records{"))
            now = time.perf_counter()
            if not ended and publisher.poll() is not None:
                ended = now
            if now - told > 10:
                told = now
                print(f"  {now - began:5.0f} s: lag {lags[-1]:11,.0f}, {samples[-1]:6.0f} MB")
            if ended and lags[-1] == 0 and flow.answered() >= sum(ends(server.bootstrap, topic)):
                break
        sent = int(publisher.stdout.read())
        recovered = time.perf_counter() - ended
        time.sleep(2)
        good = counted(server.bootstrap, f"{prefix}risk.tiers", ends(server.bootstrap, topic))
        late = samples[len(samples) // 4 :]
        flat = max(late) - late[0] < 0.25 * late[0]
        print(
            f"overload: {sent:,} events in {seconds} s ({sent / seconds / rate:.1f} times the sustainable rate); "
            f"peak lag {max(lags):,.0f}, gone {recovered:.0f} s after the last; {max(samples):.0f} MB at most, "
            f"{'flat' if flat else 'GREW'}; health and readiness {sorted(states)}; "
            f"{'every offset answered once, in order' if good else 'LOST OR DOUBLED'}"
        )
        return good and flat and states == {(200, 200)}
    finally:
        for process in (publisher, flow and flow.process):
            if process is not None:
                process.terminate()
                process.wait(30)
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=5_000_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--calibration", type=int, default=300_000, help="events to measure the sustainable rate with")
    # Ten times what full batches do is more than one publisher gives, and 12 GB on a disk; small batches make
    # the flow slow enough for its tenfold to be real. A minute of that takes nine more to be worked off.
    parser.add_argument("--batch-max", type=int, default=50)
    parser.add_argument("--publish", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        bootstrap, topic, rate, seconds = arguments.publish
        print(publish_at(bootstrap, topic, float(rate), int(seconds)))
        return
    good = [flood(arguments.identities)] if arguments.identities else []
    good += [overload(arguments.seconds, arguments.calibration, arguments.batch_max)] if arguments.seconds else []
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()

"""The risk flow against its honest peer: per-event Bytewax with Python windows and River, over the same topic.

`python benchmarks/peer.py [--events 1000000] [--peer-events 150000] [--rounds 3]` prints events per second, processor
seconds per million events, and the flow's multiple of the peer, as medians of rounds in which all ran in turn.
`benchmarks/peer_flow.py` says what the peer does; it keeps no snapshots and gives no guarantee. It runs twice: with the
windows of one attribute, and with those of the flow's four, which is nearest to the same job. It is slow, so it stops
after fewer events: its state is then smaller, which is to its advantage.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.kafka import PARTITIONS, ROOT, environment, filled
from benchmarks.runs import PAUSE_S, Run, child, flow, show

PEERS = {
    "the peer, 17 features": ("counterparty",),
    "the peer, 41 features": ("ip", "device", "counterparty", "type"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer-events", type=int, default=150_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{arguments.events:,} events of {arguments.users:,} users in {PARTITIONS} partitions; "
        f"the peer stops after {arguments.peer_events:,} of them",
        flush=True,
    )
    with filled(arguments.events, arguments.users) as (server, prefix):
        command = [str(ROOT / "benchmarks" / "peer_flow.py"), server.bootstrap]
        command += [f"{prefix}events", f"{prefix}copy", str(arguments.peer_events)]
        peers: dict[str, list[Run]] = {name: [] for name in PEERS}
        flows = []
        flow(server.bootstrap, prefix, arguments.events)  # the broker warms up: does not count
        for _ in range(arguments.rounds):
            for name, attributes in PEERS.items():
                time.sleep(PAUSE_S)
                peers[name].append(child([*command, *attributes], environment(server.bootstrap, prefix)))
            time.sleep(PAUSE_S)
            flows.append(flow(server.bootstrap, prefix, arguments.events))
        for name, found in peers.items():
            show(name, found)
        for name, found in peers.items():
            show("risk flow, 56 features, exactly once", flows, found, name)


if __name__ == "__main__":
    main()

"""Taking over from a primary that died on this node, without waiting for its grace to pass.

1. The link to the primary breaks. That is a hint.
2. Its store's lock can be taken: that is proof, the kernel lets go of it only when the process ends.
3. Its fence page is revoked, so that no reader trusts it any more, and its log is read beyond our own
   end: what it had acknowledged at EVENTUAL and not yet sent is not lost.
4. The records enter the machine as the Prepare that the primary would have sent, then PeerFenced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from daycache_ray.actors.runner import Runner
from daycache_ray.storage.salvage import salvage
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.messages import PeerFenced, Prepare
from daycache_ray.words.types import Member, Role

PAUSES_S = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256)
"""A dying process closes its sockets before its last file; half a second covers a loaded machine."""

_log = structlog.get_logger("daycache.replica")


class Salvager:
    """Tries to prove a peer's death and to save what it held."""

    def __init__(self, runner: Runner, address: Callable[[Member], MemberAddress | None], node_id: str) -> None:
        self._runner = runner
        self._address = address
        self._node_id = node_id

    async def take_over_from(self, member: Member) -> None:
        """Fence `member` if it was our primary, is dead and shares our node."""
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            address = self._address(member)
            if not self._concerns(member) or address is None or address.node_id != self._node_id:
                return
            if self._fence(member, address):
                return

    def _concerns(self, member: Member) -> bool:
        machine = self._runner.machine
        configuration = machine.configuration
        return (
            configuration is not None
            and configuration.primary == member
            and machine.role is Role.SECONDARY
            and machine.member in configuration.in_sync
        )

    def _fence(self, member: Member, address: MemberAddress) -> bool:
        machine = self._runner.machine
        configuration = machine.configuration
        assert configuration is not None
        saved = salvage(address.directory, machine.last_lsn)
        if saved is None:
            return False
        try:
            if saved.incarnation != member.incarnation:
                return True  # somebody else has been here: another life owns the store now
            if saved.records:
                self._runner.post(
                    Prepare(
                        sender=member,
                        epoch=configuration.epoch,
                        term=configuration.term,
                        previous_lsn=machine.last_lsn,
                        previous_epoch=saved.previous_epoch,
                        records=saved.records,
                        commit_lsn=saved.commit_lsn,
                        last_lsn=saved.last_lsn,
                        sent_at_ns=0,
                    )
                )
            self._runner.post(PeerFenced(member))
            _log.info("primary fenced", member=str(member), salvaged=len(saved.records))
        finally:
            saved.release()
        return True

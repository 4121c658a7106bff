"""Whether what is offered lies here already, so that nothing of it need travel.

Decides: when it is worth asking for all hashes first, and what counts as the same. Does not know: who
gives hashes, or what is done with the answer.
"""

from __future__ import annotations

from p2pchat.files.inbox import Landed, adopt, final_name, same_file, same_tree
from p2pchat.files.staging import Staging
from p2pchat.files.trouble import told
from p2pchat.platform.folders import Folder, NotPlain
from p2pchat.wire.messages.files import Offer


def maybe(target: Folder, offer: Offer) -> bool:
    """Whether something in `target` could be what is offered: a file of its size, a folder of its name.
    Nothing is read, so the answer costs a listing."""
    with told("read", target.path):
        if offer.head:
            look = target.look(final_name(offer))
            return look is not None and look.kind == "folder"
        return offer.size > 0 and any(
            look.kind == "file" and look.size == offer.size for _, look in target.list()
        )


def find(staging: Staging, target: Folder) -> Landed | None:
    """Where the very same bytes lie, or None; of a folder that holds some of them, those are taken over.

    The hashes of all pieces are known, and of a folder its list is here.
    """
    offer = staging.offer
    if not offer.head:
        name = same_file(target, offer, staging.hash_of)
        return None if name is None else Landed(f"{target.path}/{name}", name, "same")
    name = final_name(offer)
    try:
        folder = target.child(name)
    except (FileNotFoundError, NotPlain):
        return None
    with folder:
        if same_tree(staging, folder):
            return Landed(f"{target.path}/{name}", name, "same")
        adopt(staging, folder)
    return None

# Recomputes a block's hash from its JSON: curl -s "$URL/blocks?limit=1&order=desc" | python3 recompute.py
import hashlib, json, struct, sys

blocks = json.load(sys.stdin)
for block in blocks if isinstance(blocks, list) else [blocks]:
    header = bytes.fromhex(block["header"])
    version, difficulty, index, timestamp_ns, previous, data, nonce = struct.unpack(">IIQQ32s32sQ", header)
    assert hashlib.sha256(header).hexdigest() == block["hash"], "hash"
    assert int(block["hash"], 16) < 1 << 256 - difficulty, "proof of work"
    assert hashlib.sha256(block["data"].encode()).digest() == data, "data"
    assert (index, nonce, difficulty) == (block["index"], block["nonce"], block["difficulty"]), "fields"
    assert previous.hex() == block["previous_hash"], "previous_hash"
    print(index, hashlib.sha256(header).hexdigest(), "ok")

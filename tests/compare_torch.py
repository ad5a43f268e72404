#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds our models against PyTorch's: compare_torch.py DUMP_MODEL.

For each shape the program DUMP_MODEL (dump_model.c) writes weights, a text, and loss and gradients as our reference and our sliced model
compute them. Here the same model is built in double from PyTorch's own operations, and its autograd and optimizer are the judge. Debian's
python3-torch is enough; without it everything is skipped.
"""
import json
import math
import subprocess
import sys

try:
    import torch
except ImportError:
    print("1..0 # SKIP PyTorch is not installed (python3-torch)")
    sys.exit(0)

SHAPES = ["dense", "grouped queries", "biases", "normed heads", "tied embeddings", "experts", "everything"]
# Relative, norm-wise. The reference is double too, so only its rounding is left; the sliced model is float32.
REFERENCE_TOLERANCE = 1e-10
SLICED_TOLERANCE = 1e-4
OPTIMIZER_TOLERANCE = 1e-6


class Reader:
    def __init__(self, data):
        self.data = bytearray(data)
        self.at = 0

    def line(self):
        end = self.data.index(b"\n", self.at)
        text = self.data[self.at:end].decode()
        self.at = end + 1
        return text

    def array(self, dtype, count):
        size = torch.empty(0, dtype=dtype).element_size()
        part = bytearray(self.data[self.at:self.at + count * size])
        self.at += count * size
        return torch.frombuffer(part, dtype=dtype)


class Parameters:
    """Names for the stretches of one vector."""

    def __init__(self, vector, m):
        self.vector, self.at = vector, 0
        h, q, kv, d = m["hidden"], m["heads"] * m["head_dim"], m["kv_heads"] * m["head_dim"], m["head_dim"]
        e, n, f = m["experts"], max(m["experts"], 1), m["ffn"]
        bias, norm = m["qkv_bias"], m["qk_norm"]
        self.embedding = self.take(m["vocab"], h)
        self.layers = []
        for _ in range(m["layers"]):
            w = {"norm1": self.take(h), "q": self.take(q, h), "k": self.take(kv, h), "v": self.take(kv, h)}
            w |= {"q_bias": self.take(bias * q), "k_bias": self.take(bias * kv), "v_bias": self.take(bias * kv)}
            w |= {"q_norm": self.take(norm * d), "k_norm": self.take(norm * d), "o": self.take(h, q)}
            w |= {"norm2": self.take(h), "router": self.take(e, h)}
            w |= {"gate": self.take(n, f, h), "up": self.take(n, f, h), "down": self.take(n, h, f)}
            self.layers.append(w)
        self.norm = self.take(h)
        self.head = self.embedding if m["tied"] else self.take(m["vocab"], h)

    def take(self, *shape):
        count = math.prod(shape)
        part = self.vector[self.at:self.at + count].view(*shape)
        self.at += count
        return part


def rms_norm(x, weight, m):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m["norm_epsilon"]) * weight


def rotate(x, m):
    """x: [sequences, heads, tokens, head_dim]; as Hugging Face's Llama."""
    dim = m["head_dim"]
    frequency = 1.0 / m["rope_theta"] ** (torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.outer(torch.arange(x.shape[2], dtype=x.dtype), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    half = torch.cat((-x[..., dim // 2:], x[..., :dim // 2]), dim=-1)
    return x * angle.cos() + half * angle.sin()


def project(x, weight, bias, heads, m):
    y = torch.nn.functional.linear(x, weight, bias if m["qkv_bias"] else None)
    return y.view(x.shape[0], x.shape[1], heads, m["head_dim"]).transpose(1, 2)


def attention(x, w, m):
    q = project(x, w["q"], w["q_bias"], m["heads"], m)
    k = project(x, w["k"], w["k_bias"], m["kv_heads"], m)
    v = project(x, w["v"], w["v_bias"], m["kv_heads"], m)
    if m["qk_norm"]:
        q, k = rms_norm(q, w["q_norm"], m), rms_norm(k, w["k_norm"], m)
    q, k = rotate(q, m), rotate(k, m)
    k, v = (t.repeat_interleave(m["heads"] // m["kv_heads"], dim=1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(m["head_dim"])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    output = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    return output.transpose(1, 2).flatten(2) @ w["o"].T


def expert(x, w, i):
    return (torch.nn.functional.silu(x @ w["gate"][i].T) * (x @ w["up"][i].T)) @ w["down"][i].T


def mlp(x, w, m):
    if m["experts"] == 0:
        return expert(x, w, 0)
    share = (x @ w["router"].T).softmax(-1)
    best, index = share.topk(m["experts_per_token"], dim=-1)
    kept = torch.zeros_like(share).scatter(-1, index, best / best.sum(-1, keepdim=True))
    return sum(kept[..., i:i + 1] * expert(x, w, i) for i in range(m["experts"]))


def loss_of(vector, ids, targets, m):
    p = Parameters(vector, m)
    x = torch.nn.functional.embedding(ids, p.embedding)
    for w in p.layers:
        x = x + attention(rms_norm(x, w["norm1"], m), w, m)
        x = x + mlp(rms_norm(x, w["norm2"], m), w, m)
    logits = rms_norm(x, p.norm, m) @ p.head.T
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def apart(ours, theirs):
    return ((ours.double() - theirs).norm() / theirs.norm()).item()


def compare(data):
    """Yields (what, distance, tolerance)."""
    reader = Reader(data)
    m = json.loads(reader.line())
    shape = m["sequences"], m["tokens"]
    ids = reader.array(torch.int32, math.prod(shape)).long().view(shape)
    targets = reader.array(torch.int32, math.prod(shape)).long().view(shape)
    count = Parameters(torch.zeros(10 ** 6), m).at
    start = reader.array(torch.float32, count)
    vector = start.double().requires_grad_()
    loss = loss_of(vector, ids, targets, m)
    loss.backward()
    for name, dtype, tolerance in ("reference", torch.float64, REFERENCE_TOLERANCE), ("sliced", torch.float32, SLICED_TOLERANCE):
        yield f"{name} loss", abs(reader.array(torch.float64, 1).item() / loss.item() - 1), tolerance
        gradient = reader.array(dtype, count)
        yield f"{name} gradient", apart(gradient, vector.grad), tolerance
    trained = torch.nn.Parameter(start.double())
    optimizer = torch.optim.AdamW([trained], lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for _ in range(m["steps"]):
        trained.grad = gradient.double()
        optimizer.step()
    yield "AdamW", apart(reader.array(torch.float32, count), trained.data), OPTIMIZER_TOLERANCE


def main():
    failed = number = 0
    for index, shape in enumerate(SHAPES):
        data = subprocess.run([sys.argv[1], str(index)], check=True, capture_output=True).stdout
        for what, distance, tolerance in compare(data):
            number += 1
            good = distance <= tolerance
            failed += not good
            print(f"{'ok' if good else 'not ok'} {number} - {shape}: {what} apart by {distance:.1e}, at most {tolerance:.0e}")
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())

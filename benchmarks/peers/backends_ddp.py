"""Hand-written peer of backend ddp: `torchrun --standalone --nproc-per-node 2 backends_ddp.py SOCKET FOLDER WIDTH`."""

import sys
import time

ENTERED = time.time()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import distributed, nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from turns import Seat  # noqa: E402

IMPORTED = time.time()
SOCKET, FOLDER, WIDTH = sys.argv[1], sys.argv[2], int(sys.argv[3])
BATCH = 128

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank, size = distributed.get_rank(), distributed.get_world_size()
joined = time.time()

numbers = torch.from_numpy(np.load(f"{FOLDER}/numbers.npy"))
target = torch.from_numpy(np.load(f"{FOLDER}/target.npy"))
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(
    nn.Linear(numbers.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
    nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2),
))  # fmt: skip
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
loss_of = nn.CrossEntropyLoss()

seat = Seat(SOCKET, entered=ENTERED, imported=IMPORTED, joined=joined)
for epoch, steps in seat.turns():
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(epoch))
    total = torch.zeros(())
    for batch in order.split(BATCH)[:steps]:
        mine = batch.chunk(size)[rank]
        optimizer.zero_grad()
        loss = loss_of(model(numbers[mine]), target[mine])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.detach()
    distributed.all_reduce(total)
    seat.answer(total.item() / size / steps)
distributed.destroy_process_group()

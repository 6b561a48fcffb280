"""Hand-written peer of backend horovod: `horovodrun -np 2 python backends_horovod.py SOCKET FOLDER WIDTH`."""

import sys
import time

ENTERED = time.time()

import horovod.torch as hvd  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from turns import Seat  # noqa: E402

IMPORTED = time.time()
SOCKET, FOLDER, WIDTH = sys.argv[1], sys.argv[2], int(sys.argv[3])
BATCH = 128

torch.set_num_threads(1)
hvd.init()
joined = time.time()

numbers = torch.from_numpy(np.load(f"{FOLDER}/numbers.npy"))
target = torch.from_numpy(np.load(f"{FOLDER}/target.npy"))
torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(numbers.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
    nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2),
)  # fmt: skip
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
loss_of = nn.CrossEntropyLoss()

seat = Seat(SOCKET, entered=ENTERED, imported=IMPORTED, joined=joined)
for epoch, steps in seat.turns():
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(epoch))
    total = torch.zeros(())
    for batch in order.split(BATCH)[:steps]:
        mine = batch.chunk(hvd.size())[hvd.rank()]
        optimizer.zero_grad()
        loss = loss_of(model(numbers[mine]), target[mine])
        loss.backward()
        optimizer.synchronize()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        with optimizer.skip_synchronize():
            optimizer.step()
        total += loss.detach()
    seat.answer(hvd.allreduce(total).item() / steps)

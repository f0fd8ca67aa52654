"""TUT Acoustic Scenes 2017 with DCASE21_Net: half of every layer's filters, MACs about a quarter.

There are few clips a fold when only a part of the set is at hand, so nothing is held out for validation: the last
epoch of the schedule counts. Pool the four folds (`--data.fold 1` to `4`) before you judge. The clips may be the
published ones or a resampled copy: everything is computed at 16 kHz. Shorter patches need a shorter
`--finetune.time-mask`: 100 frames are two of ten seconds.

Time: 2 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Prune, Recipe, Train

recipe = Recipe(
    name="tut2017_dcase21",
    data=Data(name="tut2017", validation=0.0),
    frontend=LogMel.dcase21(sample_rate=16000, clip_s=10.0),
    train=Train(epochs=80, batch_size=16, lr=2e-3, mixup=0.3),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=15_000, macs=76_000_000),
    finetune=Train(epochs=40, batch_size=16, lr=1e-3, mixup=1.0, freq_mask=8, time_mask=100, distillation=0.9),
)

if __name__ == "__main__":
    recipe.main()

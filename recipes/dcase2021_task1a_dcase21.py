"""DCASE 2021 task 1A (TAU Urban Acoustic Scenes 2020 Mobile) with its baseline network, DCASE21_Net, pruned by half.

Published for the unpruned baseline on the development split: 48.58 %, log loss 1.425. Six devices train and three more
are heard in evaluation only, hence Freq-MixStyle.

Time: 9 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Prune, Recipe, Train

recipe = Recipe(
    name="dcase2021_task1a_dcase21",
    data=Data(name="tau2020_mobile"),
    frontend=LogMel.dcase21(sample_rate=44100, clip_s=10.0),
    train=Train(epochs=100, batch_size=64, lr=2e-3, mixup=0.3, mixstyle=0.4),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=15_000, macs=76_000_000),
    finetune=Train(epochs=40, batch_size=64, lr=1e-3, mixup=0.3, mixstyle=0.4, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

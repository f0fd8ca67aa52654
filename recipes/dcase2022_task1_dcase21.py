"""DCASE 2022 task 1 (TAU Urban Acoustic Scenes 2022 Mobile, one-second clips): its baseline within half its budget.

The challenge allows 128k int8 parameters and 30 MMACs a second; the baseline takes 46,512 bytes and 29.2 MMACs and
reaches 42.9 % and a log loss of 1.575 as int8. DCASE 2024's training subsets: `--data.subset 5`, 10, 25, 50 or 100.

Time: 5 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Prune, Recipe, Train

recipe = Recipe(
    name="dcase2022_task1_dcase21",
    data=Data(name="tau2022_mobile"),
    frontend=LogMel.dcase21(sample_rate=44100, clip_s=1.0),
    train=Train(epochs=50, batch_size=256, lr=3e-3, mixup=0.3, mixstyle=0.4),
    prune=Prune(criterion="operator_norm"),
    budget=Budget(params=23_000, macs=15_000_000),
    finetune=Train(epochs=20, batch_size=256, lr=1e-3, mixup=0.3, mixstyle=0.4, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

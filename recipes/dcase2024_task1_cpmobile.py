"""DCASE 2024 and 2025 task 1 (TAU Urban Acoustic Scenes 2022 Mobile): their baseline, CP-Mobile, at half its MACs.

DCASE 2024 trains on five subsets, `--data.subset 5`, 10, 25, 50 or 100; DCASE 2025 on 25. Published for the unpruned
baseline, mean of the classes: 42.40, 45.29, 50.29, 53.19 and 56.99 %. Rates, batches, masks and Freq-MixStyle are the
baseline's.

Time: 3 days on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="dcase2024_task1_cpmobile",
    data=Data(name="tau2022_mobile", subset="25"),
    frontend=LogMel.cpmobile(),
    model=Model(name="cpmobile"),
    train=Train(epochs=150, batch_size=256, lr=5e-3, weight_decay=1e-4, mixup=0.0, mixstyle=0.4, freq_mask=48),
    prune=Prune(criterion="operator_norm"),
    budget=Budget(macs=14_700_000),
    finetune=Train(epochs=50, batch_size=256, lr=1e-3, mixup=0.0, mixstyle=0.4, freq_mask=48, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

"""DCASE 2019 task 1A (TAU Urban Acoustic Scenes 2019) with VGGish, half of every convolution's filters.

One GPU is recommended: `--train.accelerator gpu --finetune.accelerator gpu`.

Time: 6 days on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="dcase2019_task1a_vggish",
    data=Data(name="tau2019"),
    frontend=LogMel.vggish(),
    model=Model(name="vggish"),
    train=Train(epochs=40, batch_size=64, lr=3e-4, mixup=0.3, patience=10),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=27_000_000, macs=226_000_000),
    finetune=Train(epochs=20, batch_size=64, lr=1e-4, mixup=0.3, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

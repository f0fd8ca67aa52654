"""TUT Acoustic Scenes 2017 with VGGish at full width, from scratch: half of every convolution's filters.

Every second of the non-overlapping patches is used and epochs are few, so that two cores train it in half an hour.

Time: 4 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="tut2017_vggish",
    data=Data(name="tut2017", validation=0.0),
    frontend=LogMel.vggish(patch_hop_frames=192),
    model=Model(name="vggish"),
    train=Train(epochs=8, batch_size=16, lr=3e-4, mixup=0.3),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=27_000_000, macs=226_000_000),
    finetune=Train(epochs=6, batch_size=16, lr=2e-4, mixup=0.3, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

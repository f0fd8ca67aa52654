"""ESC-10 with VGGish at full width, from scratch: half of every convolution's filters, MACs about a quarter.

Patches do not overlap and epochs are few, so that two cores train it in half an hour; a patch costs about 0.08 s.
With AudioSet weights of your own (`--model.audioset-weights FILE`) expect far more.

Time: 25 min on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="esc10_vggish",
    data=Data(name="esc10", validation=0.0),
    frontend=LogMel.vggish(patch_hop_frames=96),
    model=Model(name="vggish"),
    train=Train(epochs=10, batch_size=16, lr=3e-4, mixup=0.3),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=27_000_000, macs=226_000_000),
    finetune=Train(epochs=6, batch_size=16, lr=2e-4, mixup=0.3, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

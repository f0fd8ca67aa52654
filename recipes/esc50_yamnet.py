"""ESC-50 with YAMNet's network, MobileNetV1 on patches of 0.96 s, from scratch: half its MACs.

1,600 clips train, too few to hold any out: the last epoch of the schedule counts.

Time: 9 h on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="esc50_yamnet",
    data=Data(name="esc50", validation=0.0),
    frontend=LogMel.yamnet(),
    model=Model(name="yamnet"),
    train=Train(epochs=60, batch_size=64, lr=2e-3, mixup=0.3, freq_mask=12, time_mask=16),
    prune=Prune(criterion="operator_norm"),
    budget=Budget(macs=34_300_000),
    finetune=Train(epochs=30, batch_size=64, lr=1e-3, mixup=0.3, freq_mask=12, time_mask=16, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

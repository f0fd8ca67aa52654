"""ESC-10 with MobileNetV3-Small at half its width, whole 5-second clips: MACs halved again.

320 clips train, too few to hold any out: the last epoch of the schedule counts.

Time: 10 min on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="esc10_mobilenetv3",
    data=Data(name="esc10", validation=0.0),
    frontend=LogMel.mobilenetv3(clip_s=5.0),
    model=Model(name="mobilenetv3_small", width=0.5),
    train=Train(epochs=100, batch_size=32, lr=3e-3, mixup=0.3, label_smoothing=0.1, freq_mask=24, time_mask=50),
    prune=Prune(criterion="operator_norm", min_filters=4),
    budget=Budget(macs=9_897_000),
    finetune=Train(epochs=60, batch_size=32, lr=2e-3, mixup=0.3, label_smoothing=0.1, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

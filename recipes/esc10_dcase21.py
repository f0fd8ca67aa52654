"""ESC-10 with DCASE21_Net on whole 5-second clips: half of every layer's filters, MACs about a quarter.

320 clips train, too few to hold any out: the last epoch of the schedule counts.

Time: 10 min on 2 cores, estimated.
"""

from edgeprune.recipe import Budget, Data, LogMel, Prune, Recipe, Train

recipe = Recipe(
    name="esc10_dcase21",
    data=Data(name="esc10", validation=0.0),
    frontend=LogMel.dcase21(sample_rate=44100, clip_s=5.0),
    train=Train(epochs=100, batch_size=32, lr=3e-3, mixup=0.3, label_smoothing=0.1, freq_mask=6, time_mask=25),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=15_000, macs=40_000_000),
    finetune=Train(epochs=60, batch_size=32, lr=2e-3, mixup=0.3, label_smoothing=0.1, distillation=0.5),
)

if __name__ == "__main__":
    recipe.main()

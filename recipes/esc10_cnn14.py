"""ESC-10 with CNN14 at a quarter of its width, from scratch: half of every convolution's filters, MACs a quarter.

One core takes 24 s an epoch of training and 21 s of fine-tuning, 35 minutes in all.

With the public checkpoint of the PANNs expect far more, in hours or on a GPU: `--model.width 1
--model.audioset-weights FILE --train.lr 1e-4 --finetune.lr 1e-4 --budget.params 21M --budget.macs 2.6G`.

Time: 35 min on 1 core, measured.
"""

from edgeprune.recipe import Budget, Data, Export, LogMel, Model, Prune, Recipe, Train

recipe = Recipe(
    name="esc10_cnn14",
    data=Data(name="esc10", validation=0.0),
    frontend=LogMel.cnn14(clip_s=5.0),
    model=Model(name="cnn14", width=0.25),
    train=Train(epochs=60, batch_size=16, lr=1e-3, mixup=0.3, freq_mask=8, time_mask=50),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=1_320_000, macs=158_000_000),
    finetune=Train(epochs=30, batch_size=16, lr=5e-4, mixup=0.3, freq_mask=8, time_mask=50, distillation=0.5),
    export=Export(formats=("float32", "float16", "dynamic", "int8")),
)

if __name__ == "__main__":
    recipe.main()

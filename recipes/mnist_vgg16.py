"""MNIST with VGG-16 at half width: half of every convolution's filters, MACs a quarter.

Half of the training images are used. One core takes 190 s an epoch of training and 115 s of fine-tuning, half an hour
in all. The whole network on all images (`--model.width 1 --data.train-share 1 --budget.params 4M --budget.macs 68M`)
takes about eight times as long.

Time: 30 min on 1 core, measured.
"""

from edgeprune.recipe import Budget, Data, Export, Model, Prune, Recipe, Train

recipe = Recipe(
    name="mnist_vgg16",
    data=Data(name="mnist", validation=0.1, train_share=0.5),
    model=Model(name="vgg16", width=0.5),
    train=Train(epochs=4, batch_size=64, lr=2e-3, mixup=0.0, time_roll=False),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=960_000, macs=17_000_000),
    finetune=Train(epochs=6, batch_size=64, lr=1e-3, mixup=0.0, time_roll=False, distillation=0.5),
    export=Export(formats=("float32", "float16", "dynamic", "int8")),
)

if __name__ == "__main__":
    recipe.main()

"""A CIFAR-10 subset with ResNet-50 at a quarter of its width: half of every layer's filters, MACs a quarter.

5,000 images train it, mirrored and moved by up to 4 pixels. One core takes 60 s an epoch of training and 43 s of
fine-tuning, 40 minutes in all. Without reconstruction the pruned network does not recover (docs/results.md).

Time: 40 min on 1 core, measured.
"""

from edgeprune.recipe import Budget, Data, Export, Model, Prune, Recipe, Train

recipe = Recipe(
    name="cifar10_resnet50",
    data=Data(name="cifar10_subset", validation=0.1),
    model=Model(name="resnet50_cifar", width=0.25),
    train=Train(epochs=30, batch_size=64, lr=3e-3, mixup=0.2, time_roll=False, flip=True, shift=4),
    prune=Prune(criterion="operator_norm", keep=0.5),
    budget=Budget(params=375_000, macs=20_600_000),
    finetune=Train(
        epochs=15, batch_size=64, lr=1.5e-3, mixup=0.2, time_roll=False, flip=True, shift=4, distillation=0.5
    ),
    export=Export(formats=("float32", "float16", "dynamic", "int8")),
)

if __name__ == "__main__":
    recipe.main()
